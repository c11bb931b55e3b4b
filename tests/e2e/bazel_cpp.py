"""A workspace with C++, shell tests and symlinks. Its compiler is the machine's own."""

from __future__ import annotations

FILES = {
    # What Bazel's own files load, and would fetch: rules that are only another name for its own.
    "WORKSPACE": """
local_repository(name = "remote_coverage_tools", path = "coverage")
local_repository(name = "rules_cc", path = "rules_cc")
local_repository(name = "rules_java", path = "rules_java")
""",
    "rules_cc/WORKSPACE": "",
    "rules_cc/cc/BUILD": "",
    "rules_cc/cc/defs.bzl": """
cc_binary = native.cc_binary
cc_library = native.cc_library
cc_test = native.cc_test
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
""",
    "rules_java/WORKSPACE": "",
    "rules_java/java/BUILD": "",
    "rules_java/java/defs.bzl": """
java_binary = native.java_binary
java_import = native.java_import
java_library = native.java_library
java_runtime = native.java_runtime
java_toolchain = native.java_toolchain
""",
    "cpp/BUILD": """
cc_library(name = "greeting", srcs = ["greeting.cc"], hdrs = ["greeting.h"])
cc_binary(name = "greet", srcs = ["greet.cc"], deps = [":greeting"])
cc_test(name = "cc_test", size = "small", srcs = ["greeting_test.cc"], deps = [":greeting"])
sh_test(name = "sh_test", size = "small", srcs = ["greet_test.sh"], data = [":greet"])
genrule(
    name = "greeted",
    outs = ["greeted.out"],
    tools = [":greet"],
    cmd = "$(location :greet) >$@",
)
""",
    "cpp/greeting.h": "#include <string>\nstd::string greeting(const std::string& name);\n",
    "cpp/greeting.cc": """
#include "cpp/greeting.h"
std::string greeting(const std::string& name) { return "Hello, " + name; }
""",
    "cpp/greet.cc": """
#include <iostream>
#include "cpp/greeting.h"
int main() { std::cout << greeting("C++") << std::endl; }
""",
    "cpp/greeting_test.cc": """
#include "cpp/greeting.h"
int main() { return greeting("test") == "Hello, test" ? 0 : 1; }
""",
    "cpp/greet_test.sh": '#!/bin/sh\ntest "$(cpp/greet)" = "Hello, C++"\n',
    "links/rules.bzl": """
def _linked(ctx):
    out = ctx.actions.declare_directory(ctx.label.name)
    ctx.actions.run_shell(
        outputs = [out],
        arguments = [out.path],
        command = "mkdir -p $1/a/b; cd $1; echo far >a/b/file; ln -s a/b/file; ln -s a directory",
    )
    return [DefaultInfo(files = depset([out]))]

linked = rule(_linked)
""",
    "links/BUILD": """
load(":rules.bzl", "linked")
genrule(
    name = "pair",
    outs = ["file.out", "link.out"],
    cmd = "cd $(@D); echo content >file.out; ln -s file.out link.out",
)
linked(name = "linked")
genrule(
    name = "read",
    srcs = ["link.out", ":linked"],
    outs = ["read.out"],
    cmd = "cd $(@D); cat link.out linked/file linked/directory/b/file >read.out",
)
""",
}

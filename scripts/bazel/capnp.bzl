"""cc_capnp_library: C++ from Cap'n Proto schemas, with the compiler built from the pinned source."""

def cc_capnp_library(name, srcs, deps = [], visibility = None):
    """A C++ library of the given schemas, included as "folder/name.capnp.h".

    Args:
      name: the library's name.
      srcs: .capnp files of this package.
      deps: other cc_capnp_library targets whose schemas are imported (by path from the tree's root).
      visibility: as everywhere.
    """
    hdrs = [s + ".h" for s in srcs]
    impls = [s + ".c++" for s in srcs]
    native.filegroup(
        name = name + "_schemas",
        srcs = srcs + [d + "_schemas" for d in deps],
        visibility = ["//visibility:public"],
    )
    native.genrule(
        name = name + "_gen",
        srcs = srcs + [d + "_schemas" for d in deps] + ["@capnp-cpp//:schemas"],
        outs = hdrs + impls,
        cmd = "$(execpath @capnp-cpp//:capnp_tool) compile --no-standard-import" +
              " -I external/capnp-cpp/src -I ." +
              " -o $(execpath @capnp-cpp//:capnpc-c++):$(GENDIR) --src-prefix=. " +
              " ".join(["$(execpath %s)" % s for s in srcs]) +
              # An absolute import becomes an angled include, which Bazel's include paths do not serve.
              " && sed -i -E '/<capnp\\//! s/#include <([^>]+\\.capnp\\.h)>/#include \"\\1\"/' " +
              " ".join(["$(RULEDIR)/" + h for h in hdrs]),
        tools = [
            "@capnp-cpp//:capnp_tool",
            "@capnp-cpp//:capnpc-c++",
        ],
        message = "Generating C++ from schemas",
    )
    native.cc_library(
        name = name,
        srcs = impls,
        hdrs = hdrs,
        copts = ["-w"],
        linkstatic = True,
        visibility = visibility,
        deps = deps + ["@capnp-cpp//:capnp"],
    )

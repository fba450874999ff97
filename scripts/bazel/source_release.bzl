"""A pinned source release, unpacked by tar.

http_archive would do, but Debian 13's Bazel cannot unpack: its commons-compress wants a class that the
commons-io beside it no longer has.
"""

def _run(ctx, arguments):
    result = ctx.execute(arguments)
    if result.return_code != 0:
        fail("%s: %s%s" % (" ".join([str(argument) for argument in arguments]), result.stdout, result.stderr))

def _source_release_impl(ctx):
    ctx.download(ctx.attr.url, output = "release.tar.gz", sha256 = ctx.attr.sha256)
    _run(ctx, ["tar", "--extract", "--gzip", "--file=release.tar.gz", "--strip-components=1", "--no-same-owner"])
    ctx.delete("release.tar.gz")
    for patch in ctx.attr.patches:
        _run(ctx, ["patch", "--strip=1", "--input=%s" % ctx.path(patch)])
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)
    ctx.symlink(ctx.attr.build_file, "BUILD.bazel")

source_release = repository_rule(
    implementation = _source_release_impl,
    attrs = {
        "build_file": attr.label(mandatory = True, allow_single_file = True),
        "patches": attr.label_list(allow_files = True),
        "sha256": attr.string(mandatory = True),
        "url": attr.string(mandatory = True, doc = "a .tar.gz with one folder at its top"),
    },
)

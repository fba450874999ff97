// `belay-pull decompress`: turns a layer's blob into its tar. It reads strangers' bytes with a
// complex parser, so it can do nothing but read fd 0 and write fd 1.
#pragma once

#include <kj/array.h>
#include <kj/function.h>
#include <kj/string.h>

#include "snapshot/pull/media-type.h"

namespace belay::snapshot {

// Where compressed bytes come from and where plain ones go: reads at most the buffer's size and
// returns the count, 0 at the end.
using ReadBytes = kj::Function<size_t(kj::ArrayPtr<kj::byte>)>;
using WriteBytes = kj::Function<void(kj::ArrayPtr<const kj::byte>)>;

// What the first bytes of a blob say it is. Images in the wild carry plain tars labelled gzip, and
// the incumbents follow the content; the diff id vouches for the result either way.
Compression compressionOfContent(kj::ArrayPtr<const kj::byte> firstBytes);

// Copies `read` to `write`, decompressing by content. All members of a gzip file and all frames of
// a zstd file are taken; zero padding after a gzip member is skipped. Throws on a truncated or
// damaged stream and on anything else after the last member.
void decompress(ReadBytes read, WriteBytes write);

// The mode's main: `mediaType` from the command line, descriptors as in pull.capnp.
int decompressMain(kj::StringPtr mediaType);

}  // namespace belay::snapshot

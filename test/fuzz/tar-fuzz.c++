// Fuzzes the tar reader: any bytes either are an archive or end in a kj::Exception.
#include <kj/exception.h>
#include <kj/io.h>
#include <stdint.h>

#include "snapshot/pull/layer-path.h"
#include "snapshot/pull/tar-reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace belay::snapshot;
  kj::ArrayInputStream input(kj::arrayPtr(data, size));
  kj::runCatchingExceptions([&]() {
    TarReader reader(input);
    for (;;) {
      KJ_IF_MAYBE (entry, reader.next()) {
        uint64_t total = 0;
        for (auto piece = reader.content(); piece.size() > 0; piece = reader.content())
          total += piece.size();
        if (total != entry->sizeBytes) __builtin_trap();
        auto path = normalLayerPath(entry->path);
        classifyName(splitLayerPath(path).name);
      } else {
        break;
      }
    }
    reader.drain(size);
  });
  return 0;
}

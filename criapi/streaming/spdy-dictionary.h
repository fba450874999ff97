// The text that SPDY/3 primes its header compression with.
#pragma once

#include <kj/common.h>

namespace belay::criapi::streaming {

// 1423 bytes, Adler-32 e3c6a7c2. draft-mbelshe-httpbis-spdy-00, section 2.6.10.1.
kj::ArrayPtr<const kj::byte> spdyDictionary();

}  // namespace belay::criapi::streaming

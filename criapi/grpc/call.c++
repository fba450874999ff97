// See call.h and the templates of server.h.
#include "criapi/grpc/call.h"

#include <kj/debug.h>

#include "criapi/grpc/server.h"

namespace belay::criapi::grpc {

void Call::fail(Code code, kj::StringPtr sentence) {
  setStatus({code, kj::str(sentence)});
  KJ_FAIL_REQUIRE("the call is refused", path(), nameOf(code), sentence);
}

namespace detail {

void failParse(Call& call, kj::StringPtr typeName) {
  call.fail(Code::INTERNAL, kj::str("the request is no valid ", typeName));
}

void failSerialize(Call& call, kj::StringPtr typeName, size_t bytes) {
  call.fail(Code::INTERNAL,
            kj::str("the reply, a ", typeName, " of ", bytes, " bytes, cannot be encoded"));
}

}  // namespace detail

}  // namespace belay::criapi::grpc

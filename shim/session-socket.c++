// Implementation of session-socket.h.
#include "shim/session-socket.h"

#include <kj/vector.h>

namespace belay::shim {

kj::Promise<kj::Maybe<ToShim::Reader>> SessionSocket::receive() {
  try {
    last = co_await packets.receive();
    KJ_IF_MAYBE (packet, last) co_return (*packet)->as<ToShim>();
  } catch (const kj::Exception&) {
    // No message: hung up on.
  }
  co_return nullptr;
}

bool SessionSocket::send(capnp::MessageBuilder& message, kj::ArrayPtr<const int> descriptors) {
  return packets.trySend(message, descriptors);
}

bool SessionSocket::sendStarted(const Streams& streams) {
  capnp::MallocMessageBuilder message;
  auto started = message.initRoot<FromShim>().initStarted();
  kj::Vector<int> descriptors;
  auto add = [&](const kj::AutoCloseFd& fd) {
    if (fd.get() >= 0) descriptors.add(fd.get());
    return fd.get() >= 0;
  };
  started.setStdin(add(streams.in));
  started.setStdout(add(streams.out));
  started.setStderr(add(streams.err));
  return send(message, descriptors);
}

bool SessionSocket::sendFailed(const FailureValue& failure) {
  capnp::MallocMessageBuilder message;
  writeFailure(failure, message.initRoot<FromShim>().initFailed());
  return send(message);
}

}  // namespace belay::shim

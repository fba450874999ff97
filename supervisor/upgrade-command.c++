// See upgrade-command.h.
#include "supervisor/upgrade-command.h"

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/debug.h>

#include "supervisor/admin.capnp.h"
#include "supervisor/remote-failure.h"
#include "supervisor/unix-socket.h"

namespace belay::supervisor {

kj::String askForUpgrade(kj::StringPtr state, kj::StringPtr program) {
  auto io = kj::setupAsyncIo();
  auto stream =
      io.lowLevelProvider->wrapUnixSocketFd(connectToUnixSocket(kj::str(state, "/admin.sock")));
  capnp::TwoPartyClient client(*stream);
  auto request = client.bootstrap().castAs<Admin>().upgradeRequest();
  request.setProgram(program);
  kj::String result;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&] {
                 auto answer = request.send().wait(io.waitScope);
                 result =
                     kj::str("belayd ", answer.getBefore(), " became belayd ", answer.getAfter());
               })) {
    if (exception->getType() == kj::Exception::Type::DISCONNECTED) {
      snapshot::fail(snapshot::Code::UNAVAILABLE,
                     "the new belayd ended before it served; its log says why");
    }
    exception->setDescription(kj::str(sentenceOf(*exception)));
    kj::throwFatalException(kj::mv(*exception));
  }
  return result;
}

}  // namespace belay::supervisor

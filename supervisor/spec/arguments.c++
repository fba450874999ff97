// What a container runs, where, and how it is asked to stop.
#include "supervisor/spec/arguments.h"

#include <ctype.h>
#include <kj/vector.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

#include "supervisor/spec/check.h"

namespace belay::supervisor {

namespace {

using Texts = capnp::List<capnp::Text>::Reader;

void append(kj::Vector<kj::StringPtr>& to, Texts texts, kj::StringPtr field) {
  for (kj::StringPtr text : texts) {
    requireNoNul(field, text);
    to.add(text);
  }
}

// Counted from the C library's SIGRTMIN (34), which is what a program in the image means by it: the
// library keeps the kernel's first two to itself.
kj::Maybe<int> realTimeSignal(kj::StringPtr name) {
  auto offset = [&](size_t from, char sign) -> kj::Maybe<int> {
    if (name.size() == from) return 0;
    if (name[from] != sign) return nullptr;
    return name.slice(from + 1).tryParseAs<int>();
  };
  bool low = strncasecmp(name.cStr(), "RTMIN", 5) == 0;
  bool high = strncasecmp(name.cStr(), "RTMAX", 5) == 0;
  if (!low && !high) return nullptr;
  KJ_IF_MAYBE (distance, offset(5, low ? '+' : '-')) {
    int number = low ? SIGRTMIN + *distance : SIGRTMAX - *distance;
    if (*distance >= 0 && number >= SIGRTMIN && number <= SIGRTMAX) return number;
  }
  return nullptr;
}

}  // namespace

kj::Array<kj::StringPtr> mergeArguments(ContainerConfig::Reader config,
                                        snapshot::ImageConfig::Reader image) {
  kj::Vector<kj::StringPtr> merged;
  bool ownCommand = config.getCommand().size() > 0;
  bool ownArgs = config.getArgs().size() > 0;
  if (ownCommand) {
    append(merged, config.getCommand(), "command");
  } else {
    append(merged, image.getEntrypoint(), "the image's entrypoint");
  }
  if (ownArgs) {
    append(merged, config.getArgs(), "args");
  } else if (!ownCommand) {
    append(merged, image.getCmd(), "the image's cmd");
  }
  if (merged.empty()) {
    refuse("command", "no command specified, neither by the container nor by its image");
  }
  if (merged[0].size() == 0) refuse("command", "the program's name is empty");
  return merged.releaseAsArray();
}

kj::String workingDirectory(ContainerConfig::Reader config, snapshot::ImageConfig::Reader image) {
  if (config.hasWorkingDir() && config.getWorkingDir().size() > 0) {
    return cleanPath("working_dir", config.getWorkingDir());
  }
  kj::StringPtr fromImage = image.getWorkingDir();
  if (fromImage.size() == 0) return kj::str("/");
  // Dockerfiles may say WORKDIR without the slash.
  return cleanPath("the image's working directory",
                   fromImage.startsWith("/") ? kj::str(fromImage) : kj::str("/", fromImage));
}

kj::Maybe<int> parseSignal(kj::StringPtr text) {
  if (text.size() > 0 && isdigit(text[0])) {
    KJ_IF_MAYBE (number, text.tryParseAs<int>()) {
      if (*number >= 1 && *number <= SIGRTMAX) return *number;
    }
    return nullptr;
  }
  if (strncasecmp(text.cStr(), "SIG", 3) == 0) text = text.slice(3);
  for (int number = 1; number < NSIG; ++number) {
    const char* name = sigabbrev_np(number);
    if (name != nullptr && strcasecmp(name, text.cStr()) == 0) return number;
  }
  if (strcasecmp(text.cStr(), "IOT") == 0) return SIGABRT;
  if (strcasecmp(text.cStr(), "CLD") == 0) return SIGCHLD;
  if (strcasecmp(text.cStr(), "POLL") == 0) return SIGPOLL;
  return realTimeSignal(text);
}

int stopSignal(ContainerConfig::Reader config, snapshot::ImageConfig::Reader image) {
  int own = config.getStopSignal();
  if (own != 0) {
    if (own < 0 || own > SIGRTMAX) refuse("stop_signal", "there is no signal ", own);
    return own;
  }
  if (image.getStopSignal().size() == 0) return SIGTERM;
  KJ_IF_MAYBE (signal, parseSignal(image.getStopSignal())) {
    return *signal;
  }
  refuse("the image's stop signal", "\"", image.getStopSignal(), "\" is no signal's name");
}

}  // namespace belay::supervisor

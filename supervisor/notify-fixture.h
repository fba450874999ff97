// A service manager for tests: the other end of $NOTIFY_SOCKET.
#pragma once

#include <kj/debug.h>
#include <kj/io.h>
#include <kj/string.h>
#include <kj/vector.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

namespace belay::supervisor {

class NotifySocket {
 public:
  // From now on this process's service manager.
  NotifySocket() {
    int fd;
    KJ_SYSCALL(fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    manager = kj::AutoCloseFd(fd);
    sockaddr_un address{.sun_family = AF_UNIX};
    // Abstract: "@name" in the variable is a NUL byte and the name.
    auto name = kj::str("belay-notify-test-", getpid());
    memcpy(address.sun_path + 1, name.begin(), name.size());
    socklen_t size = sizeof(sa_family_t) + 1 + name.size();
    KJ_SYSCALL(bind(fd, reinterpret_cast<const sockaddr*>(&address), size));
    setenv("NOTIFY_SOCKET", kj::str('@', name).cStr(), 1);
  }
  ~NotifySocket() { unsetenv("NOTIFY_SOCKET"); }

  struct Message {
    std::string text;
    kj::AutoCloseFd fd;
  };
  // What has come; an empty text when nothing has.
  Message receive() {
    char text[512];
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    iovec part{text, sizeof(text)};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    ssize_t count = recvmsg(manager, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (count < 0) return {};
    Message message{std::string(text, count), nullptr};
    auto* first = CMSG_FIRSTHDR(&header);
    if (first != nullptr && first->cmsg_type == SCM_RIGHTS) {
      int fd;
      memcpy(&fd, CMSG_DATA(first), sizeof(fd));
      message.fd = kj::AutoCloseFd(fd);
    }
    return message;
  }

 private:
  kj::AutoCloseFd manager;
};

}  // namespace belay::supervisor

// The io_uring implementation of log-disk.h: what would block goes on in the kernel's worker
// threads, and completions are told by an eventfd.
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/map.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "shim/stdio/log-disk.h"
#include "shim/stdio/wakeup.h"

namespace belay::shim {
namespace {

// The ring's pages are charged to the shim. More operations than this may be under way: an entry is
// free again as soon as it is submitted.
constexpr uint ENTRIES = 8;

struct Completion {
  int result;  // as the system call, or -errno
  kj::Vector<kj::byte> data;
};

// One operation. It lives until its completion has been seen, because the kernel uses path, file
// and data until then; whoever asked may be gone by that time.
struct Operation {
  kj::String path;
  kj::Own<DiskFile> file;
  kj::Vector<kj::byte> data;
  bool opensFile;
  kj::Own<kj::PromiseFulfiller<Completion>> done;
};

class UringLogDisk final : public LogDisk, private kj::TaskSet::ErrorHandler {
 public:
  UringLogDisk(const struct io_uring& ring, kj::AutoCloseFd eventFd, kj::UnixEventPort& port)
      : ring(ring),
        eventFd(kj::mv(eventFd)),
        observer(port, this->eventFd, kj::UnixEventPort::FdObserver::OBSERVE_READ),
        tasks(*this) {
    tasks.add(completeAll());
  }

  ~UringLogDisk() noexcept(false) {
    io_uring_queue_exit(&ring);
    // The kernel may still read what belongs to operations under way, and nobody is left to see
    // them end: that memory stays until the process does.
    if (underWay.size() > 0) new kj::HashMap<uint64_t, kj::Own<Operation>>(kj::mv(underWay));
  }
  KJ_DISALLOW_COPY_AND_MOVE(UringLogDisk);

  kj::Promise<kj::OneOf<kj::AutoCloseFd, int>> open(kj::String path, int flags,
                                                    mode_t mode) override {
    if (held != nullptr) co_await whenNotHeld();
    auto& entry = nextEntry();
    io_uring_prep_openat(&entry, AT_FDCWD, path.cStr(), flags, mode);
    auto completion = co_await submit(entry, {.path = kj::mv(path), .opensFile = true});
    kj::OneOf<kj::AutoCloseFd, int> result;
    if (completion.result < 0) {
      result.init<int>(-completion.result);
    } else {
      result.init<kj::AutoCloseFd>(completion.result);
    }
    co_return result;
  }

  kj::Promise<int> makeDirectory(kj::String path, mode_t mode) override {
    if (held != nullptr) co_await whenNotHeld();
    auto& entry = nextEntry();
    io_uring_prep_mkdirat(&entry, AT_FDCWD, path.cStr(), mode);
    auto completion = co_await submit(entry, {.path = kj::mv(path)});
    co_return -completion.result;
  }

  kj::Promise<Written> write(kj::Own<DiskFile> file, kj::Vector<kj::byte> data,
                             size_t from) override {
    if (held != nullptr) co_await whenNotHeld();
    auto& entry = nextEntry();
    io_uring_prep_write(&entry, file->fd, data.begin() + from, data.size() - from, -1);
    auto completion = co_await submit(entry, {.file = kj::mv(file), .data = kj::mv(data)});
    co_return Written{kj::mv(completion.data), completion.result};
  }

  kj::Promise<void> hold() override {
    auto paf = kj::newPromiseAndFulfiller<void>();
    held.emplace(Hold{kj::mv(paf.fulfiller), paf.promise.fork()});
    while (underWay.size() > 0)
      co_await completed.wait();
  }

  void release() override {
    KJ_IF_MAYBE (hold, held) hold->fulfiller->fulfill();
    held = nullptr;
  }

 private:
  struct Hold {
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
    kj::ForkedPromise<void> ended;
  };

  kj::Promise<void> whenNotHeld() {
    for (;;) {
      KJ_IF_MAYBE (hold, held) {
        co_await hold->ended.addBranch();
      } else {
        co_return;
      }
    }
  }

  struct io_uring_sqe& nextEntry() {
    auto entry = io_uring_get_sqe(&ring);
    KJ_REQUIRE(entry != nullptr, "every entry is submitted at once, so one is always free");
    return *entry;
  }

  kj::Promise<Completion> submit(struct io_uring_sqe& entry, Operation operation) {
    uint64_t id = nextId++;
    // liburing 2.3 stores the number as it is.
    io_uring_sqe_set_data64(&entry, id);
    auto paf = kj::newPromiseAndFulfiller<Completion>();
    operation.done = kj::mv(paf.fulfiller);
    // Paths and data are on the heap: moving their owner leaves them in place.
    underWay.insert(id, kj::heap(kj::mv(operation)));
    int submitted;
    do {
      submitted = io_uring_submit(&ring);
    } while (submitted == -EINTR || submitted == -EAGAIN);
    if (submitted < 0) KJ_FAIL_SYSCALL("io_uring_submit", -submitted);
    return kj::mv(paf.promise);
  }

  kj::Promise<void> completeAll() {
    for (;;) {
      auto readable = observer.whenBecomesReadable();
      uint64_t count;
      KJ_NONBLOCKING_SYSCALL(read(eventFd, &count, sizeof(count)));
      struct io_uring_cqe* cqe;
      while (io_uring_peek_cqe(&ring, &cqe) == 0) {
        uint64_t id = io_uring_cqe_get_data64(cqe);
        int result = cqe->res;
        io_uring_cqe_seen(&ring, cqe);
        complete(id, result);
      }
      co_await readable;
    }
  }

  void complete(uint64_t id, int result) {
    auto operation = kj::mv(KJ_REQUIRE_NONNULL(underWay.find(id), "unknown completion", id));
    underWay.erase(id);
    completed.notify();
    if (operation->opensFile && result >= 0 && !operation->done->isWaiting()) {
      kj::AutoCloseFd unwanted(result);
      return;
    }
    operation->done->fulfill({result, kj::mv(operation->data)});
  }

  void taskFailed(kj::Exception&& exception) override {
    // Logs would stop without a word; a restart of the shim by its successor is better.
    KJ_LOG(FATAL, "io_uring failed", exception);
    abort();
  }

  struct io_uring ring;
  kj::AutoCloseFd eventFd;
  kj::UnixEventPort::FdObserver observer;
  kj::HashMap<uint64_t, kj::Own<Operation>> underWay;
  uint64_t nextId = 0;
  kj::Maybe<Hold> held;
  Wakeup completed;
  kj::TaskSet tasks;
};

}  // namespace

kj::Maybe<kj::Own<LogDisk>> tryNewUringLogDisk(kj::UnixEventPort& port) {
  struct io_uring ring;
  // ENOSYS: no such kernel. EPERM: kernel.io_uring_disabled or a seccomp filter. ENOMEM: locked
  // memory limit of old kernels.
  if (io_uring_queue_init(ENTRIES, &ring, 0) < 0) return nullptr;
  // The mappings are shared: a container that may trace a child of this process, on its way into
  // the container, would write entries for us to submit.
  int error = io_uring_ring_dontfork(&ring);
  if (error < 0) {
    io_uring_queue_exit(&ring);
    KJ_FAIL_SYSCALL("madvise(io_uring, MADV_DONTFORK)", -error);
  }
  int eventFd;
  KJ_SYSCALL(eventFd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  kj::AutoCloseFd own(eventFd);
  if (io_uring_register_eventfd(&ring, eventFd) < 0) {
    io_uring_queue_exit(&ring);
    return nullptr;
  }
  return kj::Own<LogDisk>(kj::heap<UringLogDisk>(ring, kj::mv(own), port));
}

}  // namespace belay::shim

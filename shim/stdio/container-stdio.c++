// Implementation of container-stdio.h.
#include "shim/stdio/container-stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <unistd.h>

#include "shim/stdio/descriptors.h"
#include "shim/stdio/fifo.h"
#include "shim/stdio/terminal-input.h"

namespace belay::shim {
namespace {

constexpr kj::StringPtr IN_FIFO = "stdin"_kj;
constexpr kj::StringPtr OUT_FIFO = "stdout"_kj;
constexpr kj::StringPtr ERR_FIFO = "stderr"_kj;
constexpr kj::StringPtr OUT_SPOOL = "stdout.spool"_kj;
constexpr kj::StringPtr ERR_SPOOL = "stderr.spool"_kj;
constexpr kj::StringPtr LOG_POSITION = "log-position"_kj;

}  // namespace

ContainerStdio::ContainerStdio(kj::UnixEventPort& port, kj::Timer& timer, LogDisk& disk, int dirFd,
                               Options options)
    : port(port),
      timer(timer),
      dirFd(dirFd),
      wantsInput(options.wantsInput),
      terminal(options.terminal),
      inputOnce(options.inputOnce),
      out(Spool::create(dirFd, OUT_SPOOL)) {
  kj::Maybe<Spool&> errSpool;
  if (!terminal) {
    makeFifo(dirFd, OUT_FIFO);
    makeFifo(dirFd, ERR_FIFO);
    if (wantsInput) makeFifo(dirFd, IN_FIFO);
    errSpool = err.emplace(Spool::create(dirFd, ERR_SPOOL));
  }
  log = kj::heap<ContainerLog>(disk, timer, LogPositionFile::create(dirFd, LOG_POSITION),
                               options.logPath, options.logMaxLineBytes, out, errSpool);
}

kj::Own<ContainerStdio> ContainerStdio::takeOver(kj::UnixEventPort& port, kj::Timer& timer,
                                                 LogDisk& disk, int dirFd, Options options) {
  auto positionFile = LogPositionFile::open(dirFd, LOG_POSITION);
  auto position = KJ_REQUIRE_NONNULL(positionFile.load(), "the log's position is not understood");
  Left left{Spool::open(dirFd, OUT_SPOOL, position.spooled[0]), nullptr, kj::mv(positionFile),
            position};
  if (!options.terminal) left.err = Spool::open(dirFd, ERR_SPOOL, position.spooled[1]);
  return kj::heap<ContainerStdio>(port, timer, disk, dirFd, options, kj::mv(left));
}

ContainerStdio::ContainerStdio(kj::UnixEventPort& port, kj::Timer& timer, LogDisk& disk, int dirFd,
                               Options options, Left left)
    : port(port),
      timer(timer),
      dirFd(dirFd),
      wantsInput(options.wantsInput),
      terminal(options.terminal),
      inputOnce(options.inputOnce),
      out(kj::mv(left.out)),
      err(kj::mv(left.err)),
      left(left.position) {
  kj::Maybe<Spool&> errSpool;
  KJ_IF_MAYBE (spool, err) errSpool = *spool;
  log = kj::heap<ContainerLog>(disk, timer, kj::mv(left.positionFile), options.logPath,
                               options.logMaxLineBytes, out, errSpool);
}

ContainerStdio::~ContainerStdio() noexcept(false) {}

ContainerStdio::Ends ContainerStdio::openContainerEnds() {
  Ends ends;
  if (terminal) return ends;
  ends.out = openOutputEnd(dirFd, OUT_FIFO);
  ends.err = openOutputEnd(dirFd, ERR_FIFO);
  if (wantsInput) {
    ends.in = openInputEnd(dirFd, IN_FIFO);
    // Held open, so that the container waits for input instead of seeing its end.
    input = openWriter(dirFd, IN_FIFO);
  } else {
    ends.in = openNull(O_RDONLY);
  }
  return ends;
}

void ContainerStdio::giveTo(uid_t uid, gid_t gid) {
  giveFifo(dirFd, OUT_FIFO, uid, gid);
  giveFifo(dirFd, ERR_FIFO, uid, gid);
  if (wantsInput) giveFifo(dirFd, IN_FIFO, uid, gid);
}

kj::Promise<kj::Maybe<FailureValue>> ContainerStdio::start(kj::AutoCloseFd ptyMaster) {
  auto failure = co_await log->open();
  if (failure != nullptr) co_return kj::mv(failure);
  started = true;
  if (terminal) {
    setNonBlocking(ptyMaster);
    outReader = read(kj::mv(ptyMaster), LogStream::OUT);
  } else {
    outReader = read(openReader(dirFd, OUT_FIFO), LogStream::OUT);
    errReader = read(openReader(dirFd, ERR_FIFO), LogStream::ERR);
  }
  co_return nullptr;
}

kj::Own<OutputReader> ContainerStdio::read(kj::AutoCloseFd fd, LogStream stream) {
  auto source = terminal ? OutputReader::Source::PTY : OutputReader::Source::FIFO;
  auto& spool = stream == LogStream::OUT ? out : KJ_ASSERT_NONNULL(err);
  return kj::heap<OutputReader>(port, timer, kj::mv(fd), source, spool, *log, stream);
}

kj::Promise<void> ContainerStdio::resume(Inherited inherited) {
  co_await log->resume(left);
  started = true;
  if (terminal) {
    if (inherited.pty.get() >= 0) {
      outReader = read(kj::mv(inherited.pty), LogStream::OUT);
    } else {
      log->endOfInput(LogStream::OUT);
    }
    co_return;
  }
  if (inherited.out.get() < 0) inherited.out = openReader(dirFd, OUT_FIFO);
  if (inherited.err.get() < 0) inherited.err = openReader(dirFd, ERR_FIFO);
  outReader = read(kj::mv(inherited.out), LogStream::OUT);
  errReader = read(kj::mv(inherited.err), LogStream::ERR);
  if (!wantsInput) co_return;
  input = kj::mv(inherited.in);
  if (input.get() < 0 && !inputOnce) input = tryOpenWriter(dirFd, IN_FIFO);
}

kj::Promise<void> ContainerStdio::finish() {
  input = nullptr;
  if (!started) co_return;
  KJ_IF_MAYBE (reader, outReader) (*reader)->drain();
  KJ_IF_MAYBE (reader, errReader) (*reader)->drain();
  co_await log->whenFinished();
  outReader = nullptr;
  errReader = nullptr;
}

kj::Maybe<kj::Own<OutputTap>> ContainerStdio::tap(LogStream stream) {
  if ((stream == LogStream::OUT ? outReader : errReader) == nullptr) return nullptr;
  auto tap = kj::refcounted<OutputTap>();
  addTap(stream, kj::addRef(*tap));
  return kj::mv(tap);
}

void ContainerStdio::addTap(LogStream stream, kj::Own<OutputTap> tap) {
  KJ_IF_MAYBE (reader, stream == LogStream::OUT ? outReader : errReader) {
    (*reader)->addTap(kj::mv(tap));
  } else {
    tap->close();
  }
}

ContainerStdio::Input ContainerStdio::openInput(WorkCounter& work) {
  if (!terminal) return {openWriter(dirFd, IN_FIFO), kj::READY_NOW};
  auto pipe = makePipe();
  setNonBlocking(pipe.readEnd);
  setNonBlocking(pipe.writeEnd);
  int readEnd = pipe.readEnd;
  return {kj::mv(pipe.writeEnd), resumeInput(work, kj::mv(pipe.readEnd)), readEnd};
}

kj::Promise<void> ContainerStdio::resumeInput(WorkCounter& work, kj::AutoCloseFd readEnd) {
  auto master = duplicate(KJ_REQUIRE_NONNULL(outReader)->getFd());
  return copyToTerminal(port, work, kj::mv(readEnd), kj::mv(master));
}

bool ContainerStdio::clientInputEnded() {
  if (!inputOnce || input.get() < 0) return false;
  input = nullptr;
  return true;
}

void ContainerStdio::resize(TerminalSize size) {
  KJ_IF_MAYBE (reader, outReader) {
    if (terminal) setTerminalSize((*reader)->getFd(), size);
  }
}

kj::Vector<ContainerStdio::Descriptor> ContainerStdio::descriptors() const {
  kj::Vector<Descriptor> result;
  KJ_IF_MAYBE (reader, outReader) {
    result.add(Descriptor{terminal ? "pty"_kj : OUT_FIFO, (*reader)->getFd()});
  }
  KJ_IF_MAYBE (reader, errReader) result.add(Descriptor{ERR_FIFO, (*reader)->getFd()});
  if (input.get() >= 0) result.add(Descriptor{IN_FIFO, input});
  return result;
}

kj::Maybe<kj::StringPtr> ContainerStdio::findFault(int dirFd) {
  kj::Maybe<LogPosition> position;
  auto exception = kj::runCatchingExceptions(
      [&]() { position = LogPositionFile::open(dirFd, LOG_POSITION).load(); });
  if (exception != nullptr) return "its log has no position"_kj;
  if (position == nullptr) return "its log's position is not understood"_kj;
  return nullptr;
}

void ContainerStdio::removeFiles(int dirFd) {
  for (auto name : {IN_FIFO, OUT_FIFO, ERR_FIFO, OUT_SPOOL, ERR_SPOOL, LOG_POSITION}) {
    KJ_SYSCALL_HANDLE_ERRORS(unlinkat(dirFd, name.cStr(), 0)) {
      case ENOENT:
        break;
      default:
        KJ_FAIL_SYSCALL("unlinkat", error, name);
    }
  }
}

}  // namespace belay::shim

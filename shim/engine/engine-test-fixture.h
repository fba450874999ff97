// What the engine's system tests share: an event loop, a pod's directory, a rootfs of busybox,
// cgroups of their own, and the assertion that nothing is left behind.
#pragma once

#include <capnp/message.h>
#include <gtest/gtest.h>
#include <kj/async-unix.h>

#include "shim/engine/container.h"
#include "shim/engine/context.h"
#include "shim/engine/enter.h"
#include "shim/engine/namespaces.h"
#include "shim/spec.capnp.h"

namespace kj {
// How GoogleTest shows KJ's strings.
inline void PrintTo(const String& text, std::ostream* out) {
  *out << text.cStr();
}
}  // namespace kj

namespace belay::shim {

// The tests that make containers are skipped, loudly, unless run as root with busybox-static.
class EngineTest : public ::testing::Test {
 protected:
  // Which of the machine's cgroup hierarchies are used.
  enum class Layout { AS_IT_IS, V1_ALONE, V2_ALONE };

  explicit EngineTest(Layout layout = Layout::AS_IT_IS);
  // GoogleTest's destructors do not throw, KJ's may.
  ~EngineTest() noexcept override;

  void SetUp() override;
  // Asserts that no mount, child, cgroup or descriptor is left.
  void TearDown() override;

  // A pod with network, IPC and UTS namespaces, and a container of "busybox sh -c script" with
  // every usual mount. To be changed before use.
  PodSpec::Builder podSpec() { return pod.getRoot<PodSpec>(); }
  ContainerSpec::Builder containerSpec() { return container.getRoot<ContainerSpec>(); }
  void setCommand(ProcessSpec::Builder process, kj::ArrayPtr<const kj::StringPtr> args);
  void setScript(ProcessSpec::Builder process, kj::StringPtr script);
  Mount::Builder addMount(kj::StringPtr destination);

  // A process for enterContainer with the container's defaults.
  ProcessSpec::Builder execSpec(kj::StringPtr script);

  // Writes a file of the image (the lower layer).
  void writeImageFile(kj::StringPtr path, kj::StringPtr text);
  kj::String imagePath(kj::StringPtr path) { return kj::str(directory, "/image/", path); }

  // Makes namespaces and cgroup as the specs say, and prepares the container; throws a failure's
  // sentence.
  void makePod();
  kj::OneOf<Prepared, FailureValue> prepare();
  Prepared prepareWell();

  // The outcome of a process with its output collected.
  struct Result {
    int code;
    kj::String output;
  };
  // Prepares, starts, and waits for the end.
  Result run();
  // What the container's shell prints for the script, which must succeed.
  kj::String outputOf(kj::StringPtr script);
  // Starts a prepared container, and waits for its end.
  Result finish(Prepared prepared);
  // Enters the container, and waits for the end; throws a failure's sentence.
  Result exec(ProcessSpec::Reader process, const Prepared& container);
  kj::OneOf<Entered, FailureValue> enter(ProcessSpec::Reader process, int pidfd, Cgroup& cgroup);

  // Exit code, or 128 + signal, of a child.
  int waitFor(int pidfd);
  // Output up to the end of the next line, or to the end of all.
  kj::String readLine();
  kj::String readOutput();
  // What a terminal shows up to `end`, or until its last process has gone.
  kj::String readTerminal(int master, kj::StringPtr end = nullptr);
  kj::AutoCloseFd takeInput();
  // Streams whose output readOutput() reads.
  ChildStdio newStdio();

  // The mountinfo file of a process ("self" or a pid).
  static kj::String mountsOf(kj::StringPtr process);

  kj::String directory;
  kj::UnixEventPort port;
  kj::EventLoop loop;
  kj::WaitScope wait;
  bool hasLayout = true;
  CgroupHierarchies hierarchies;
  kj::AutoCloseFd outputReader;
  kj::AutoCloseFd podDir;
  EngineContext context;
  PodNamespaces namespaces;
  kj::Own<Cgroup> podCgroup;
  kj::Own<Cgroup> cgroup;

 private:
  capnp::MallocMessageBuilder pod;
  capnp::MallocMessageBuilder container;
  kj::Vector<kj::Own<capnp::MallocMessageBuilder>> execs;
  size_t fdsBefore = 0;
  kj::AutoCloseFd inputWriter;
  bool podMade = false;
  int execCount = 0;

  void fillPodSpec();
  void fillContainerSpec();
  void fillProcess(ProcessSpec::Builder process);
  // Those of the machine, or of it those of the layout. Sets hasLayout to false without any.
  CgroupHierarchies discover(Layout layout);
  void reapOthers();
  kj::Promise<void> reapForEver();
};

}  // namespace belay::shim

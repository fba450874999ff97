// System tests of making containers.
#include "shim/engine/container.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "shim/engine/engine-test-fixture.h"
#include "shim/engine/first-of-namespace.h"
#include "shim/engine/text-file.h"

namespace belay::shim {
namespace {

class ContainerTest : public EngineTest {
 protected:
  kj::String linkOf(pid_t pid, kj::StringPtr name) {
    return kj::str(
        std::filesystem::read_symlink(kj::str("/proc/", pid, "/ns/", name).cStr()).c_str());
  }
};

TEST_F(ContainerTest, RunsACommandAndTellsItsExitCode) {
  setScript(containerSpec().getProcess(), "echo hello; exit 7");
  auto result = run();
  EXPECT_EQ(result.output, "hello\n");
  EXPECT_EQ(result.code, 7);
}

TEST_F(ContainerTest, WaitsAtItsGate) {
  setScript(containerSpec().getProcess(), "echo started");
  auto prepared = prepareWell();
  auto comm = readTextFile(AT_FDCWD, kj::str("/proc/", prepared.pid, "/comm"));
  EXPECT_NE(comm, "sh\n");
  EXPECT_EQ(finish(kj::mv(prepared)).output, "started\n");
}

TEST_F(ContainerTest, NeverStartsOnceTheGateIsGone) {
  setScript(containerSpec().getProcess(), "echo started");
  auto prepared = prepareWell();
  auto pidfd = kj::mv(prepared.pidfd);
  prepared.gate = nullptr;
  EXPECT_EQ(waitFor(pidfd), 1);
  EXPECT_EQ(readOutput(), "");
}

TEST_F(ContainerTest, HasNamespacesOfItsOwnAndThePods) {
  auto prepared = prepareWell();
  for (auto name : {"mnt"_kj, "pid"_kj, "net"_kj, "ipc"_kj, "uts"_kj, "cgroup"_kj}) {
    EXPECT_NE(linkOf(prepared.pid, name), linkOf(getpid(), name)) << name.cStr();
  }
  EXPECT_EQ(linkOf(prepared.pid, "user"), linkOf(getpid(), "user"));
  struct stat pin, own;
  ASSERT_EQ(stat(podSpec().getNetnsPath().cStr(), &pin), 0);
  ASSERT_EQ(stat(kj::str("/proc/", prepared.pid, "/ns/net").cStr(), &own), 0);
  EXPECT_EQ(pin.st_ino, own.st_ino);
  finish(kj::mv(prepared));
}

TEST_F(ContainerTest, IsInItsCgroupInEveryHierarchy) {
  auto prepared = prepareWell();
  auto text = readTextFile(AT_FDCWD, kj::str("/proc/", prepared.pid, "/cgroup"));
  kj::StringPtr rest = text;
  size_t found = 0;
  auto wanted = kj::str(":", containerSpec().getCgroupPath());
  for (size_t end; (end = rest.findFirst('\n').orDefault(0)) > 0; rest = rest.slice(end + 1)) {
    EXPECT_TRUE(kj::heapString(rest.slice(0, end)).endsWith(wanted))
        << kj::heapString(rest.slice(0, end)).cStr();
    ++found;
  }
  EXPECT_EQ(found, hierarchies.all().size());
  EXPECT_EQ(firstOfNamespace(*cgroup), prepared.pid);
  EXPECT_FALSE(cgroup->empty());
  finish(kj::mv(prepared));
}

TEST_F(ContainerTest, SeesItsOwnCgroupAsTheRoot) {
  auto output = outputOf("cat /proc/self/cgroup; ls /sys/fs/cgroup | head -1");
  kj::StringPtr rest = output;
  for (size_t end; (end = rest.findFirst('\n').orDefault(0)) > 0; rest = rest.slice(end + 1)) {
    auto line = kj::heapString(rest.slice(0, end));
    if (line.findFirst(':') != nullptr) EXPECT_TRUE(line.endsWith(":/")) << line.cStr();
  }
}

TEST_F(ContainerTest, IsTheFirstProcessAndSeesNoOther) {
  EXPECT_EQ(outputOf("echo $$; for p in /proc/[0-9]*; do echo $p; done"), "1\n/proc/1\n");
}

TEST_F(ContainerTest, HasNoDescriptorsButItsStreams) {
  // The shell opens the directory itself as 3.
  EXPECT_EQ(outputOf("exec ls /proc/self/fd"), "0\n1\n2\n3\n");
}

TEST_F(ContainerTest, HasThePodsHostName) {
  EXPECT_EQ(outputOf("hostname"), "web-0\n");
}

TEST_F(ContainerTest, SeesNothingOfTheHostsMounts) {
  auto output = outputOf("cat /proc/self/mountinfo");
  EXPECT_EQ(strstr(output.cStr(), directory.cStr()), nullptr) << output.cStr();
  EXPECT_EQ(strstr(output.cStr(), "/dev/vda"), nullptr) << output.cStr();
}

TEST_F(ContainerTest, MasksAndProtectsProc) {
  auto output = outputOf(
      "head -c 1 /proc/timer_list | wc -c; ls /proc/acpi /sys/firmware 2>/dev/null | grep -v :;"
      "echo 1 2>/dev/null >/proc/sys/kernel/core_pattern && echo written;"
      "echo b 2>/dev/null >/proc/sysrq-trigger && echo written;"
      "touch /sys/x 2>/dev/null && echo written; touch /sys/fs/cgroup/x 2>/dev/null && echo w;"
      "stat -c %t:%T /proc/timer_list");
  EXPECT_EQ(output, "0\n\n1:3\n") << output.cStr();
}

TEST_F(ContainerTest, HasDevicesAndTheUsualLinks) {
  EXPECT_EQ(
      outputOf(
          "stat -c '%a %t:%T' /dev/null /dev/urandom; readlink /dev/fd; readlink /dev/ptmx;"
          "echo x >/dev/null; head -c 2 /dev/zero | wc -c; echo s >/dev/shm/s; cat /dev/shm/s"),
      "666 1:3\n666 1:9\n/proc/self/fd\npts/ptmx\n2\ns\n");
}

TEST_F(ContainerTest, MayNotUseOtherDevices) {
  // CAP_MKNOD is among the default capabilities: making the node is allowed, using it is not.
  auto output = outputOf("busybox mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem 2>&1 | cat");
  EXPECT_NE(strstr(output.cStr(), "Operation not permitted"), nullptr) << output.cStr();
}

TEST_F(ContainerTest, RunsAsTheImagesUserWithItsGroups) {
  auto user = containerSpec().getProcess().getUser();
  user.setName("web");
  user.initAdditionalGids(1).set(0, 4711);
  auto prepared = prepareWell();
  EXPECT_EQ(prepared.user.uid, 1000);
  EXPECT_EQ(prepared.user.gid, 1001);
  ASSERT_EQ(prepared.user.groups.size(), 3);
  setScript(containerSpec().getProcess(), "true");
  finish(kj::mv(prepared));
}

TEST_F(ContainerTest, TheUserHasItsHomeAndItsStreams) {
  containerSpec().getProcess().getUser().setName("web");
  EXPECT_EQ(outputOf("id -u; id -G; echo $HOME; echo again >/dev/stdout"),
            "1000\n1001 1002\n/home/web\nagain\n");
}

TEST_F(ContainerTest, GivesUpPrivileges) {
  auto process = containerSpec().getProcess();
  process.setNoNewPrivileges(true);
  EXPECT_EQ(outputOf("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status"),
            "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n"
            "CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t0\n");
}

TEST_F(ContainerTest, AUserWithoutPrivilegesKeepsAmbientCapabilities) {
  auto process = containerSpec().getProcess();
  process.getUser().setUid(1000);
  constexpr uint64_t BIND = 1 << 10;
  auto capabilities = process.getCapabilities();
  capabilities.setInheritable(BIND);
  capabilities.setAmbient(BIND);
  EXPECT_EQ(outputOf("grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status"),
            "CapPrm:\t0000000000000400\nCapEff:\t0000000000000400\nCapAmb:\t0000000000000400\n");
}

// A filter that makes getppid fail with EXDEV, and allows the rest.
constexpr uint64_t FILTER[] = {
    0x0000000000000020,  // load the system call's number
    0x0000006e01000015,  // if it is 110 (getppid) the next one, else the one after
    0x0005001200000006,  // return ERRNO | EXDEV
    0x7fff000000000006,  // return ALLOW
};

TEST_F(ContainerTest, LoadsTheSyscallFilterWithAndWithoutNewPrivileges) {
  auto process = containerSpec().getProcess();
  process.setSeccompFilter(kj::arrayPtr(reinterpret_cast<const kj::byte*>(FILTER), sizeof(FILTER)));
  EXPECT_EQ(outputOf("grep -E '^(CapEff|NoNewPrivs|Seccomp:)' /proc/self/status"),
            "CapEff:\t00000000a80425fb\nNoNewPrivs:\t0\nSeccomp:\t2\n");
}

TEST_F(ContainerTest, MakesTheWorkingDirectory) {
  containerSpec().getProcess().setCwd("/srv/new/place");
  EXPECT_EQ(outputOf("pwd"), "/srv/new/place\n");
}

TEST_F(ContainerTest, ReadonlyRootfsStillHasMountPointsMade) {
  containerSpec().getRootfs().setReadonly(true);
  auto mount = addMount("/data/new");
  mount.getKind().initTmpfs().setMode(01777);
  EXPECT_EQ(outputOf("touch /x 2>/dev/null || echo protected; touch /data/new/x && echo written"),
            "protected\nwritten\n");
}

TEST_F(ContainerTest, HasATerminal) {
  auto process = containerSpec().getProcess();
  process.setTerminal(true);
  setScript(process,
            "tty; test -t 1 && stat -c %t /dev/console; echo ready; read line; echo got $line");
  makePod();
  auto result = prepareContainer(context, containerSpec(), namespaces, *cgroup, {.terminal = true})
                    .wait(wait);
  ASSERT_TRUE(result.is<Prepared>()) << result.get<FailureValue>().message.cStr();
  auto& prepared = result.get<Prepared>();
  ASSERT_GE(prepared.ptyMaster.get(), 0);
  EXPECT_TRUE(releaseGate(context, prepared).wait(wait) == nullptr);
  EXPECT_EQ(readTerminal(prepared.ptyMaster, "ready\r\n"), "/dev/pts/0\r\n88\r\nready\r\n");
  KJ_SYSCALL(write(prepared.ptyMaster, "word\n", 5));
  EXPECT_EQ(readTerminal(prepared.ptyMaster), "word\r\ngot word\r\n");
  EXPECT_EQ(waitFor(prepared.pidfd), 0);
}

class ContainerFailureTest : public ContainerTest {
 protected:
  // The failure of preparing; nothing of it may be left (see TearDown).
  FailureValue failureOf() {
    auto result = prepare();
    KJ_REQUIRE(result.is<FailureValue>(), "The container was made.");
    EXPECT_TRUE(readOutput() == "");
    return kj::mv(result.get<FailureValue>());
  }
};

TEST_F(ContainerFailureTest, MissingMountSource) {
  auto source = kj::str(directory, "/no-such-source");
  addMount("/data").getKind().initBind().setSource(source);
  auto failure = failureOf();
  EXPECT_EQ(failure.code, Failure::Code::NOT_FOUND);
  EXPECT_EQ(failure.message,
            kj::str("Cannot open the mount source ", source, ": No such file or directory."));
}

TEST_F(ContainerFailureTest, MissingLayer) {
  containerSpec().getRootfs().getLower().set(0, "/no/such/layer");
  EXPECT_EQ(failureOf().message,
            "Cannot open the layer /no/such/layer: No such file or directory.");
}

TEST_F(ContainerFailureTest, UnknownUser) {
  containerSpec().getProcess().getUser().setName("nobody-here");
  auto failure = failureOf();
  EXPECT_EQ(failure.code, Failure::Code::INVALID_ARGUMENT);
  EXPECT_EQ(failure.message,
            "Cannot find the user nobody-here: the image's /etc/passwd has no such user.");
}

TEST_F(ContainerFailureTest, UserDatabaseThatWouldBlock) {
  std::filesystem::remove(imagePath("etc/passwd").cStr());
  KJ_SYSCALL(mkfifo(imagePath("etc/passwd").cStr(), 0644));
  EXPECT_EQ(failureOf().message,
            "Cannot read the user database /etc/passwd: it is not a regular file.");
}

TEST_F(ContainerFailureTest, ProcThatIsALink) {
  KJ_SYSCALL(symlink("/tmp", imagePath("proc").cStr()));
  auto failure = failureOf();
  EXPECT_EQ(failure.step, "make the mount point");
  EXPECT_EQ(failure.error, ELOOP);
}

TEST_F(ContainerFailureTest, WorkingDirectoryThatIsAFile) {
  containerSpec().getProcess().setCwd("/etc/passwd");
  EXPECT_EQ(failureOf().message,
            "Cannot change to the working directory /etc/passwd: Not a directory.");
}

TEST_F(ContainerFailureTest, NoCommand) {
  containerSpec().getProcess().initArgs(0);
  EXPECT_EQ(failureOf().code, Failure::Code::INVALID_ARGUMENT);
}

TEST_F(ContainerFailureTest, MissingCommandIsToldAtStart) {
  setCommand(containerSpec().getProcess(), {"no-such-command"_kj});
  auto prepared = prepareWell();
  auto failure = releaseGate(context, prepared).wait(wait);
  ASSERT_TRUE(failure != nullptr);
  EXPECT_EQ(KJ_ASSERT_NONNULL(failure).code, Failure::Code::NOT_FOUND);
  EXPECT_EQ(
      KJ_ASSERT_NONNULL(failure).message,
      "Cannot run the command no-such-command: No such file or directory (not found in PATH).");
  EXPECT_EQ(waitFor(prepared.pidfd), 127);
}

TEST_F(ContainerFailureTest, CommandThatIsNotExecutable) {
  setCommand(containerSpec().getProcess(), {"/etc/passwd"_kj});
  auto prepared = prepareWell();
  auto failure = releaseGate(context, prepared).wait(wait);
  EXPECT_EQ(KJ_ASSERT_NONNULL(failure).error, EACCES);
  EXPECT_EQ(waitFor(prepared.pidfd), 126);
}

TEST_F(ContainerFailureTest, DroppingTheCallKillsAChildThatHangs) {
  makePod();
  KJ_IF_MAYBE (unified, hierarchies.unified()) {
    // A frozen cgroup hangs whoever joins it, as a dead file server would.
    auto path = kj::str(unified->mountPoint, containerSpec().getCgroupPath(), "/cgroup.freeze");
    writeTextFile(AT_FDCWD, path, "1");
  } else {
    GTEST_SKIP() << "This machine has no v2 hierarchy to freeze a cgroup in.";
  }
  {
    auto hung = prepareContainer(context, containerSpec(), namespaces, *cgroup, newStdio());
    EXPECT_FALSE(hung.poll(wait));
    EXPECT_EQ(cgroup->pids().size(), 1);
  }
  EXPECT_EQ(readOutput(), "");
  cgroup->whenEmpty(context).wait(wait);
}

}  // namespace
}  // namespace belay::shim

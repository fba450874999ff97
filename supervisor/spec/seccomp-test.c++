// Compiled filters, loaded into real processes.
#include "supervisor/spec/seccomp.h"

#include <capnp/message.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "supervisor/spec/capabilities.h"
#include "supervisor/spec/expect-failure.h"
#include "supervisor/spec/seccomp-compile.h"
#include "supervisor/spec/seccomp-json.h"

namespace belay::supervisor {
namespace {

using snapshot::Code;

// Runs `call` in a child under the filter and tells the errno it ended with (0: it succeeded).
template <typename Call>
int errnoUnder(kj::ArrayPtr<const kj::byte> program, Call&& call) {
  pid_t child = fork();
  if (child == 0) {
    sock_fprog filter{static_cast<unsigned short>(program.size() / sizeof(sock_filter)),
                      reinterpret_cast<sock_filter*>(const_cast<kj::byte*>(program.begin()))};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(253);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) _exit(254);
    _exit(call() < 0 ? errno : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status)) << "killed by signal " << WTERMSIG(status);
  return WEXITSTATUS(status);
}

class SeccompTest : public ::testing::Test {
 protected:
  ~SeccompTest() noexcept override = default;

  capnp::MallocMessageBuilder message;
  SecurityProfile::Builder profile = message.initRoot<SecurityProfile>();
  SeccompFilters filters{nullptr};

  kj::ArrayPtr<const kj::byte> runtimeDefault(uint64_t capabilities = defaultCapabilities()) {
    profile.setKind(SecurityProfile::Kind::RUNTIME_DEFAULT);
    return filters.filter(profile, capabilities).program;
  }

  void writeProfile(const char* name, kj::StringPtr json) {
    auto path = kj::str(::testing::TempDir(), name);
    kj::AutoCloseFd file(open(path.cStr(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    kj::FdOutputStream(file.get()).write(json.begin(), json.size());
    profile.setKind(SecurityProfile::Kind::LOCALHOST);
    profile.setLocalhostRef(path);
  }
};

TEST_F(SeccompTest, UnconfinedAndUnsetAreNoFilter) {
  EXPECT_EQ(filters.filter(profile, 0).program.size(), 0u);
  profile.setKind(SecurityProfile::Kind::UNCONFINED);
  EXPECT_EQ(filters.filter(profile, 0).program.size(), 0u);
}

TEST_F(SeccompTest, DefaultLetsOrdinaryProgramsBe) {
  auto program = runtimeDefault();
  EXPECT_EQ(errnoUnder(program, [] { return syscall(SYS_getpid); }), 0);
  EXPECT_EQ(errnoUnder(program, [] { return open("/dev/null", O_RDWR); }), 0);
  EXPECT_EQ(errnoUnder(program, [] { return socket(AF_INET, SOCK_STREAM, 0); }), 0);
  EXPECT_EQ(errnoUnder(program, [] { return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }), 0);
}

TEST_F(SeccompTest, ShellPipelinesRunUnderTheDefault) {
  EXPECT_EQ(errnoUnder(runtimeDefault(),
                       [] {
                         return execl(
                             "/bin/sh", "sh", "-c",
                             "cd /tmp && ls -l / | grep -q proc && test \"$(id -u)\" -ge 0",
                             nullptr);
                       }),
            0);
}

TEST_F(SeccompTest, DefaultRefusesWhatReachesBeyondAContainer) {
  auto program = runtimeDefault();
  EXPECT_EQ(errnoUnder(program, [] { return syscall(SYS_mount, 0, 0, 0, 0, 0); }), EPERM);
  EXPECT_EQ(errnoUnder(program, [] { return unshare(CLONE_NEWUSER); }), EPERM);
  EXPECT_EQ(errnoUnder(program, [] { return syscall(SYS_keyctl, 0, 0, 0, 0, 0); }), EPERM);
  EXPECT_EQ(errnoUnder(program, [] { return syscall(SYS_bpf, 0, 0, 0); }), EPERM);
  EXPECT_EQ(errnoUnder(program, [] { return socket(AF_VSOCK, SOCK_STREAM, 0); }), EPERM);
  EXPECT_EQ(errnoUnder(program, [] { return syscall(SYS_io_uring_setup, 1, 0); }), EPERM);
  EXPECT_EQ(
      errnoUnder(program, [] { return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0); }),
      EPERM);
}

TEST_F(SeccompTest, Clone3AndCallsOfTomorrowAreUnknownRatherThanForbidden) {
  auto program = runtimeDefault();
  EXPECT_EQ(errnoUnder(program, [] { return syscall(SYS_clone3, 0, 0); }), ENOSYS);
  EXPECT_EQ(errnoUnder(program, [] { return syscall(2000); }), ENOSYS);
}

TEST_F(SeccompTest, CapabilitiesWidenTheDefault) {
  auto program = runtimeDefault(defaultCapabilities() | (1ull << CAP_SYS_ADMIN));
  // The kernel itself answers now: it cannot read the arguments.
  EXPECT_EQ(errnoUnder(program, [] { return syscall(SYS_mount, 0, -1L, 0, 0, 0); }), EFAULT);
  EXPECT_EQ(errnoUnder(program, [] { return syscall(SYS_clone3, 0, 0); }), EINVAL);
  EXPECT_EQ(errnoUnder(program, [] { return syscall(SYS_reboot, 0, 0, 0, 0); }), EPERM);
}

TEST_F(SeccompTest, WidestFilterFitsTheKernel) {
  auto program = runtimeDefault(~0ull);
  EXPECT_EQ(program.size() % sizeof(sock_filter), 0u);
  EXPECT_LE(program.size() / sizeof(sock_filter), 4096u);
}

TEST_F(SeccompTest, FilesOfTheCacheAreUsedAndCheckedFirst) {
  auto folder = kj::str(::testing::TempDir(), "/seccomp-cache");
  profile.setKind(SecurityProfile::Kind::RUNTIME_DEFAULT);
  auto first =
      kj::heapArray<kj::byte>(SeccompFilters(kj::StringPtr(folder)).filter(profile, 0).program);
  auto again =
      kj::heapArray<kj::byte>(SeccompFilters(kj::StringPtr(folder)).filter(profile, 0).program);
  EXPECT_EQ(first.asPtr(), again.asPtr());

  // Every cached file cut short, even behind an instruction that might be the last: a power cut. It
  // must be compiled anew, not loaded.
  size_t firstReturn = 0;
  while (BPF_CLASS(first[firstReturn]) != BPF_RET)
    firstReturn += sizeof(sock_filter);
  for (size_t missing : {first.size(), first.size() - firstReturn - sizeof(sock_filter), 1ul}) {
    for (auto& file : std::filesystem::directory_iterator(folder.cStr())) {
      std::filesystem::resize_file(file, std::filesystem::file_size(file) - missing);
    }
    auto repaired =
        kj::heapArray<kj::byte>(SeccompFilters(kj::StringPtr(folder)).filter(profile, 0).program);
    EXPECT_EQ(first.asPtr(), repaired.asPtr());
  }
}

TEST_F(SeccompTest, LocalhostProfilesAreCompiled) {
  writeProfile("allow-but-mkdir.json", R"({
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [
      {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
      {"names": ["socket"], "action": "SCMP_ACT_ERRNO",
       "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]}
    ]})");
  auto program = filters.filter(profile, 0).program;
  EXPECT_EQ(errnoUnder(program, [] { return mkdir("/tmp/never", 0700); }), ENOSPC);
  EXPECT_EQ(errnoUnder(program, [] { return socket(AF_NETLINK, SOCK_RAW, 0); }), EPERM);
  EXPECT_EQ(errnoUnder(program, [] { return socket(AF_INET, SOCK_STREAM, 0); }), 0);
}

TEST_F(SeccompTest, ArgumentTestedTwiceMeansEither) {
  writeProfile("either.json", R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
      {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [
        {"index": 0, "value": 16, "op": "SCMP_CMP_EQ"},
        {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}]})");
  auto program = filters.filter(profile, 0).program;
  EXPECT_EQ(errnoUnder(program, [] { return socket(AF_NETLINK, SOCK_RAW, 0); }), EPERM);
  EXPECT_EQ(errnoUnder(program, [] { return socket(AF_INET, SOCK_STREAM, 0); }), EPERM);
  EXPECT_EQ(errnoUnder(program, [] { return socket(AF_UNIX, SOCK_STREAM, 0); }), 0);
}

TEST_F(SeccompTest, EveryComparisonIsTheKernels) {
  struct {
    const char* operation;
    uint64_t allowed, refused;
  } cases[] = {
      {"SCMP_CMP_NE", 6, 7}, {"SCMP_CMP_LT", 6, 7}, {"SCMP_CMP_LE", 7, 8},
      {"SCMP_CMP_EQ", 7, 8}, {"SCMP_CMP_GE", 7, 6}, {"SCMP_CMP_GT", 8, 7},
  };
  for (auto& test : cases) {
    writeProfile("compare.json", kj::str(R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "args": [
          {"index": 1, "value": 7, "op": ")",
                                         test.operation, R"("}]}]})"));
    auto program = filters.filter(profile, 0).program;
    auto call = [](uint64_t who) { return syscall(SYS_getpriority, 99, who); };
    EXPECT_EQ(errnoUnder(program, [&] { return call(test.allowed); }), ENOSPC) << test.operation;
    EXPECT_EQ(errnoUnder(program, [&] { return call(test.refused); }), EINVAL) << test.operation;
  }
  writeProfile("masked.json", R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
      {"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "args": [
        {"index": 1, "value": 240, "valueTwo": 16, "op": "SCMP_CMP_MASKED_EQ"}]}]})");
  auto program = filters.filter(profile, 0).program;
  EXPECT_EQ(errnoUnder(program, [] { return syscall(SYS_getpriority, 99, 0x1f); }), ENOSPC);
  EXPECT_EQ(errnoUnder(program, [] { return syscall(SYS_getpriority, 99, 0x3f); }), EINVAL);
}

TEST_F(SeccompTest, DefaultErrnoIsTheProfiles) {
  auto underDefault = [&](const char* keys) {
    // AddressSanitizer asks for the alternate stack before anything that does not return.
    writeProfile("default.json",
                 kj::str(R"({"defaultAction": "SCMP_ACT_ERRNO", )", keys, R"( "syscalls": [
        {"names": ["exit_group", "sigaltstack", "no_such_call"], "action": "SCMP_ACT_ALLOW"}]})"));
    return errnoUnder(filters.filter(profile, 0).program, [] { return syscall(SYS_getpid); });
  };
  EXPECT_EQ(underDefault(""), EPERM);
  EXPECT_EQ(underDefault("\"defaultErrnoRet\": 28,"), ENOSPC);
  EXPECT_EQ(underDefault("\"defaultErrno\": \"ENOSPC\","), ENOSPC);
  EXPECT_EQ(underDefault("\"defaultErrnoRet\": 5, \"defaultErrno\": \"ENOSPC\","), EIO);
}

TEST_F(SeccompTest, FlagsAndListenerComeWithTheProgram) {
  writeProfile("notify.json", R"({"defaultAction": "SCMP_ACT_ALLOW",
      "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
      "listenerPath": "/run/agent//seccomp.sock", "listenerMetadata": "MKNOD=/dev/null",
      "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]})");
  auto filter = filters.filter(profile, 0);
  EXPECT_GT(filter.program.size(), 0u);
  EXPECT_EQ(filter.flags, SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW |
                              SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
  EXPECT_EQ(filter.listenerPath, "/run/agent/seccomp.sock");
  EXPECT_EQ(filter.listenerMetadata, "MKNOD=/dev/null");
}

TEST_F(SeccompTest, BadLocalhostProfilesSayWhy) {
  auto refused = [&](kj::StringPtr json, const char* sentence) {
    writeProfile("bad.json", json);
    expectFailure(Code::INVALID_ARGUMENT, sentence, [&] { filters.filter(profile, 0); });
    expectFailure(Code::INVALID_ARGUMENT, "bad.json", [&] { filters.filter(profile, 0); });
  };
  auto refusedRule = [&](kj::StringPtr rule, const char* sentence) {
    refused(kj::str(R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [)", rule, "]}"), sentence);
  };
  refused("{", "not a JSON object");
  refused("[]", "not a JSON object");
  refused("{}", "\"defaultAction\" is missing");
  refused(R"({"defaultAction": 7})", "\"defaultAction\" is not of the right type");
  refused(R"({"defaultAction": "SCMP_ACT_MAYBE"})", "\"SCMP_ACT_MAYBE\" is no action");
  refused(R"({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000})", "more than 4095");
  refused(R"({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "EWHAT"})", "is no errno");
  refused(R"({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["FAST"]})", "is no flag");
  refused(R"({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"]})",
          "is no architecture");
  refused(R"({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
              "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]})",
          "only one may be given");
  refusedRule("7", "not an object");
  refusedRule(R"({"action": "SCMP_ACT_ERRNO"})", "names no system call");
  refusedRule(R"({"names": "mkdir", "action": "SCMP_ACT_ERRNO"})", "\"names\" is not of the right");
  refusedRule(R"({"names": ["mkdir\u0000at"], "action": "SCMP_ACT_ERRNO"})", "NUL byte");
  refusedRule(R"({"name": "mkdir", "names": ["rmdir"], "action": "SCMP_ACT_ERRNO"})", "both");
  refusedRule(R"({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": "EPERM"})",
              "\"errnoRet\" is not a whole number");
  refusedRule(R"({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO",
                  "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]})",
              "no argument 6");
  refusedRule(R"({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO",
                  "args": [{"index": 0, "op": "="}]})",
              "\"=\" is no comparison");
  refusedRule(R"({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO",
                  "includes": {"minKernel": "four"}})",
              "minKernel \"four\"");
}

TEST_F(SeccompTest, NotifyWithoutAnybodyToAskIsRefused) {
  auto refused = [&](kj::StringPtr json, const char* sentence) {
    writeProfile("bad.json", json);
    expectFailure(Code::INVALID_ARGUMENT, sentence, [&] { filters.filter(profile, 0); });
  };
  refused(R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
              {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]})",
          "names no listenerPath");
  refused(R"({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/a"})", "the default action");
  refused(R"({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/a", "syscalls": [
              {"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]})",
          "cannot be used for write");
  refused(R"({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "agent.sock"})",
          "not an absolute path");
  refused(R"({"defaultAction": "SCMP_ACT_ALLOW",
              "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]})",
          "needs SCMP_ACT_NOTIFY");
}

TEST_F(SeccompTest, HugeProfilesAreRefusedAndCostLittle) {
  auto refused = [&](kj::StringPtr json, const char* sentence) {
    writeProfile("huge.json", json);
    expectFailure(Code::INVALID_ARGUMENT, sentence, [&] { filters.filter(profile, 0); });
  };
  auto times = [](kj::StringPtr text, size_t count) {
    kj::Vector<char> all;
    for (size_t i = 0; i < count; ++i)
      all.addAll(text);
    return kj::heapString(all.asPtr());
  };
  refused(times("[", 500'000), "not a JSON object");
  refused(kj::str("{\"a\":", times("{\"a\":", 100'000), "1", times("}", 100'000), "}"),
          "not a JSON object");
  refused(times(" ", (1 << 20) + 1), "larger than 1 MiB");
  auto rule = R"({"names":["mkdir"],"action":"SCMP_ACT_ERRNO"})"_kj;
  refused(kj::str(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[)",
                  times(kj::str(rule, ","), 5000), rule, "]}"),
          "more than 4096 rules");
  refused(kj::str(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":[)",
                  times("\"mkdir\",", 20'000), R"("mkdir"],"action":"SCMP_ACT_ERRNO"}]})"),
          "more than 16384 calls");
  auto tests = times(R"({"index":1,"value":1,"op":"SCMP_CMP_EQ"},)", 1000);
  refused(kj::str(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                      {"names":["mkdir","rmdir"],"action":"SCMP_ACT_ERRNO","args":[)",
                  tests, R"({"index":0,"op":"SCMP_CMP_EQ"}]}]})"),
          "more than 1024 arguments");
}

// The names that a rule with these conditions leaves in the profile of a container here.
std::string keptRules(kj::StringPtr conditions, const SeccompCircumstances& circumstances) {
  auto json = kj::str(R"({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
      {"names": ["mount"], "action": "SCMP_ACT_ALLOW", )",
                      conditions, "}]}");
  std::string names;
  for (auto& rule : parseSeccompJson(json, circumstances).rules) {
    for (auto& name : rule.names)
      names += name.cStr();
  }
  return names;
}

TEST(SeccompConditions, IncludesNeedAllAndExcludesOne) {
  constexpr uint64_t ADMIN = 1ull << CAP_SYS_ADMIN, CHOWN = 1ull << CAP_CHOWN;
  auto with = [](uint64_t capabilities) {
    return SeccompCircumstances{capabilities, "amd64", 6, 1};
  };
  auto kept = [&](kj::StringPtr conditions, uint64_t capabilities) {
    return keptRules(conditions, with(capabilities)) == "mount";
  };
  EXPECT_TRUE(kept(R"("includes": {}, "excludes": null)", 0));

  auto both = R"("includes": {"caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"]})"_kj;
  EXPECT_TRUE(kept(both, ADMIN | CHOWN));
  EXPECT_FALSE(kept(both, ADMIN));
  EXPECT_FALSE(kept(R"("includes": {"caps": ["CAP_OF_TOMORROW"]})", ~0ull));
  auto neither = R"("excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"]})"_kj;
  EXPECT_FALSE(kept(neither, CHOWN));
  EXPECT_TRUE(kept(neither, 0));

  EXPECT_TRUE(kept(R"("includes": {"arches": ["arm64", "amd64"]})", 0));
  EXPECT_FALSE(kept(R"("includes": {"arches": ["s390x"]})", 0));
  EXPECT_FALSE(kept(R"("excludes": {"arches": ["amd64"]})", 0));

  EXPECT_TRUE(kept(R"("includes": {"minKernel": "6.1"})", 0));
  EXPECT_TRUE(kept(R"("includes": {"minKernel": "4.18"})", 0));
  EXPECT_FALSE(kept(R"("includes": {"minKernel": "6.2"})", 0));
  EXPECT_FALSE(kept(R"("excludes": {"minKernel": "5.0"})", 0));

  EXPECT_FALSE(kept(R"("includes": {"caps": ["CAP_CHOWN"], "arches": ["s390x"]})", CHOWN));
}

TEST(SeccompConditions, ThisMachineIsKnown) {
  auto here = SeccompCircumstances::here(5);
  EXPECT_EQ(here.capabilities, 5u);
  EXPECT_NE(here.architecture, "");
  EXPECT_GE(here.kernelMajor, 5u);
}

TEST(SeccompConditions, OfAnArchMapOnlyThisMachinesKinCounts) {
  auto profile = parseSeccompJson(R"({"defaultAction": "SCMP_ACT_ALLOW", "archMap": [
      {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
      {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
      {"architecture": "SCMP_ARCH_OF_TOMORROW", "subArchitectures": ["SCMP_ARCH_OLD"]}]})",
                                  SeccompCircumstances::here(0));
  ASSERT_EQ(profile.architectures.size(), 1u);
  EXPECT_EQ(profile.architectures[0],
            seccomp_arch_native() == SCMP_ARCH_X86_64 ? SCMP_ARCH_X86 : SCMP_ARCH_ARM);
}

TEST_F(SeccompTest, AbsentLocalhostProfilesAreNamed) {
  profile.setKind(SecurityProfile::Kind::LOCALHOST);
  expectFailure(Code::INVALID_ARGUMENT, "seccomp.localhost_ref",
                [&] { filters.filter(profile, 0); });
  profile.setLocalhostRef("/nowhere/profile.json");
  expectFailure(Code::INVALID_ARGUMENT, "/nowhere/profile.json: No such file",
                [&] { filters.filter(profile, 0); });
  profile.setLocalhostRef("/dev");
  expectFailure(Code::INVALID_ARGUMENT, "is not a regular file",
                [&] { filters.filter(profile, 0); });
}

}  // namespace
}  // namespace belay::supervisor

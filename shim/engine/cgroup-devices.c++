// Which device nodes a cgroup's processes may use.
#include "shim/engine/cgroup-devices.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <linux/bpf.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstddef>

#include "shim/engine/cgroup.h"
#include "shim/engine/text-file.h"

namespace belay::shim {
namespace {

// Linux's device numbers, Documentation/admin-guide/devices.txt.
constexpr DeviceRule ALWAYS_ALLOWED[] = {
    {'c', DeviceRule::ANY, DeviceRule::ANY, false, false, true},
    {'b', DeviceRule::ANY, DeviceRule::ANY, false, false, true},
    {'c', 1, 3, true, true, true},                  // null
    {'c', 1, 5, true, true, true},                  // zero
    {'c', 1, 7, true, true, true},                  // full
    {'c', 1, 8, true, true, true},                  // random
    {'c', 1, 9, true, true, true},                  // urandom
    {'c', 5, 0, true, true, true},                  // tty
    {'c', 5, 2, true, true, true},                  // ptmx
    {'c', 136, DeviceRule::ANY, true, true, true},  // pts
};

DeviceRule ruleOf(Device::Reader device) {
  DeviceRule rule = {};
  if (device.getType().size() > 0) {
    rule.type = device.getType()[0];
    rule.major = device.getMajor();
    rule.minor = device.getMinor();
  } else {
    struct stat info;
    KJ_SYSCALL(stat(device.getHostPath().cStr(), &info), "look at the device",
               device.getHostPath());
    rule.type = S_ISBLK(info.st_mode) ? 'b' : S_ISCHR(info.st_mode) ? 'c' : '\0';
    rule.major = major(info.st_rdev);
    rule.minor = minor(info.st_rdev);
  }
  KJ_REQUIRE(rule.type == 'b' || rule.type == 'c', "Not a device.", device.getHostPath(),
             device.getType());
  for (char letter : device.getAccess()) {
    KJ_REQUIRE(letter == 'r' || letter == 'w' || letter == 'm',
               "Unknown kind of access to a device.", device.getPath(), device.getAccess());
    if (letter == 'r') rule.read = true;
    if (letter == 'w') rule.write = true;
    if (letter == 'm') rule.make = true;
  }
  return rule;
}

kj::String numberOrStar(int64_t number) {
  return number == DeviceRule::ANY ? kj::str("*") : kj::str(number);
}

// Instructions of eBPF, as many as the program below needs.
constexpr struct bpf_insn load(int to, size_t offset) {
  return {.code = BPF_LDX | BPF_MEM | BPF_W,
          .dst_reg = uint8_t(to),
          .src_reg = BPF_REG_1,
          .off = int16_t(offset),
          .imm = 0};
}
constexpr struct bpf_insn alu(int operation, int to, int32_t value) {
  return {.code = uint8_t(BPF_ALU | operation | BPF_K),
          .dst_reg = uint8_t(to),
          .src_reg = 0,
          .off = 0,
          .imm = value};
}
constexpr struct bpf_insn copy(int to, int from) {
  return {.code = BPF_ALU | BPF_MOV | BPF_X,
          .dst_reg = uint8_t(to),
          .src_reg = uint8_t(from),
          .off = 0,
          .imm = 0};
}
constexpr struct bpf_insn skipUnless(int reg, int32_t value, int count) {
  return {.code = BPF_JMP | BPF_JNE | BPF_K,
          .dst_reg = uint8_t(reg),
          .src_reg = 0,
          .off = int16_t(count),
          .imm = value};
}
constexpr struct bpf_insn leave() {
  return {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0};
}

// r2 is the type, r3 the access asked for, r4 and r5 the numbers. Each rule is a block that answers
// 1 if it matches; the end of the program answers 0.
kj::Vector<struct bpf_insn> deviceProgram(kj::ArrayPtr<const DeviceRule> rules) {
  kj::Vector<struct bpf_insn> program;
  program.add(load(BPF_REG_2, offsetof(struct bpf_cgroup_dev_ctx, access_type)));
  program.add(copy(BPF_REG_3, BPF_REG_2));
  program.add(alu(BPF_AND, BPF_REG_2, 0xffff));
  program.add(alu(BPF_RSH, BPF_REG_3, 16));
  program.add(load(BPF_REG_4, offsetof(struct bpf_cgroup_dev_ctx, major)));
  program.add(load(BPF_REG_5, offsetof(struct bpf_cgroup_dev_ctx, minor)));
  for (auto& rule : rules) {
    int32_t forbidden =
        7 & ~((rule.read ? BPF_DEVCG_ACC_READ : 0) | (rule.write ? BPF_DEVCG_ACC_WRITE : 0) |
              (rule.make ? BPF_DEVCG_ACC_MKNOD : 0));
    int numbers = (rule.major != DeviceRule::ANY) + (rule.minor != DeviceRule::ANY);
    int left = 6 + numbers;  // Instructions of this block, counted down to what is to be skipped.
    program.add(
        skipUnless(BPF_REG_2, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR, --left));
    if (rule.major != DeviceRule::ANY) program.add(skipUnless(BPF_REG_4, rule.major, --left));
    if (rule.minor != DeviceRule::ANY) program.add(skipUnless(BPF_REG_5, rule.minor, --left));
    program.add(copy(BPF_REG_0, BPF_REG_3));
    program.add(alu(BPF_AND, BPF_REG_0, forbidden));
    program.add(skipUnless(BPF_REG_0, 0, 2));
    program.add(alu(BPF_MOV, BPF_REG_0, 1));
    program.add(leave());
  }
  program.add(alu(BPF_MOV, BPF_REG_0, 0));
  program.add(leave());
  return program;
}

int bpf(int command, union bpf_attr& attributes) {
  return syscall(SYS_bpf, command, &attributes, sizeof(attributes));
}

}  // namespace

kj::Vector<DeviceRule> deviceRules(capnp::List<Device>::Reader devices) {
  kj::Vector<DeviceRule> rules;
  rules.addAll(kj::arrayPtr(ALWAYS_ALLOWED, kj::size(ALWAYS_ALLOWED)));
  for (auto device : devices)
    rules.add(ruleOf(device));
  return rules;
}

kj::String formatDeviceRule(const DeviceRule& rule) {
  return kj::str(rule.type, " ", numberOrStar(rule.major), ":", numberOrStar(rule.minor), " ",
                 rule.read ? "r" : "", rule.write ? "w" : "", rule.make ? "m" : "");
}

void attachDeviceProgram(int directory, kj::ArrayPtr<const DeviceRule> rules) {
  auto instructions = deviceProgram(rules);
  union bpf_attr load = {};
  load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  load.insns = reinterpret_cast<uintptr_t>(instructions.begin());
  load.insn_cnt = instructions.size();
  load.license = reinterpret_cast<uintptr_t>("Apache");
  int program;
  KJ_SYSCALL(program = bpf(BPF_PROG_LOAD, load), "load the device program", instructions.size());
  kj::AutoCloseFd ownProgram(program);

  // Programs of this kind add up: those of the parents (systemd's) and of children run as well, and
  // each must allow, so that nothing below can widen what this one grants.
  union bpf_attr attach = {};
  attach.target_fd = directory;
  attach.attach_bpf_fd = program;
  attach.attach_type = BPF_CGROUP_DEVICE;
  attach.attach_flags = BPF_F_ALLOW_MULTI;
  KJ_SYSCALL(bpf(BPF_PROG_ATTACH, attach), "attach the device program");
}

void Cgroup::limitDevices(capnp::List<Device>::Reader devices, bool allDevices) {
  if (allDevices) return;  // A new cgroup allows everything that its parent does.
  auto rules = deviceRules(devices);
  KJ_IF_MAYBE (hierarchy, hierarchies.withController("devices")) {
    auto directory = pathIn(*hierarchy);
    writeTextFile(hierarchy->root, kj::str(directory, "/devices.deny"), "a");
    auto allow = kj::str(directory, "/devices.allow");
    for (auto& rule : rules)
      writeTextFile(hierarchy->root, allow, formatDeviceRule(rule));
  } else KJ_IF_MAYBE (unified, hierarchies.unified()) {
    int fd;
    KJ_SYSCALL(
        fd = openat(unified->root, pathIn(*unified).cStr(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    kj::AutoCloseFd directory(fd);
    attachDeviceProgram(directory, rules);
  }
}

}  // namespace belay::shim

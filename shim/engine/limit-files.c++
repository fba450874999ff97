// The control files of one cgroup.
#include "shim/engine/limit-files.h"

#include <ctype.h>
#include <errno.h>
#include <kj/debug.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/engine/text-file.h"

namespace belay::shim {
namespace {

using Hierarchy = CgroupHierarchies::Hierarchy;

// "8:0" of "8:0 rbps=1024"; empty if the text does not begin with a device.
kj::ArrayPtr<const char> deviceOf(kj::ArrayPtr<const char> text) {
  size_t end = 0;
  bool colon = false;
  while (end < text.size() && (isdigit(text[end]) || text[end] == ':')) {
    colon = colon || text[end] == ':';
    ++end;
  }
  return text.slice(0, colon ? end : 0);
}

kj::StringPtr absenceIn(kj::StringPtr file) {
  if (file == "io.max") return "rbps=max wbps=max riops=max wiops=max"_kj;
  if (file == "io.latency") return "target=0"_kj;
  return "default"_kj;  // io.weight, io.bfq.weight
}

template <typename Each>
void eachLine(kj::StringPtr text, Each&& each) {
  while (text.size() > 0) {
    size_t end = text.findFirst('\n').orDefault(text.size());
    if (end > 0) each(text.slice(0, end));
    text = text.slice(kj::min(end + 1, text.size()));
  }
}

}  // namespace

kj::Vector<kj::String> formerLines(kj::StringPtr file, kj::StringPtr contents,
                                   kj::StringPtr value) {
  kj::Vector<kj::String> lines;
  auto device = deviceOf(value);
  if (device.size() == 0) {
    eachLine(contents, [&](auto line) {
      if (deviceOf(line).size() == 0) lines.add(kj::heapString(line));
    });
    // Empty is a value, too (cpuset.cpus of v2), and takes a write of something.
    if (lines.size() == 0) lines.add(kj::str("\n"));
    return lines;
  }
  eachLine(contents, [&](auto line) {
    if (deviceOf(line) == device) lines.add(kj::heapString(line));
  });
  if (lines.size() == 0) lines.add(kj::str(device, " ", absenceIn(file)));
  return lines;
}

LimitFiles::~LimitFiles() noexcept(false) {
  for (size_t i = written.size(); i > 0; --i) {
    auto& one = written[i - 1];
    for (auto& line : one.former) {
      int error = tryWriteTextFile(one.root, one.file, line);
      if (error != 0) {
        KJ_LOG(ERROR, "cannot put a limit back", one.file, line, strerror(error));
      }
    }
  }
}

int LimitFiles::tryWrite(const Hierarchy& hierarchy, kj::StringPtr file, kj::StringPtr value) {
  auto whole = kj::str(path, "/", file);
  if (putBack == PutBack::NEVER) return tryWriteTextFile(hierarchy.root, whole, value);

  kj::String contents;
  int error = tryReadTextFile(hierarchy.root, whole, contents);
  if (error == 0) error = tryWriteTextFile(hierarchy.root, whole, value);
  if (error != 0) return error;
  auto former = formerLines(file, contents, value);
  written.add(Written{hierarchy.root, kj::mv(whole), kj::mv(former)});
  return 0;
}

void LimitFiles::write(const Hierarchy& hierarchy, kj::StringPtr file, kj::StringPtr value) {
  int error = tryWrite(hierarchy, file, value);
  if (error != 0) kj::throwFatalException(refusal(file, value, error));
}

bool LimitFiles::has(const Hierarchy& hierarchy, kj::StringPtr file) const {
  return faccessat(hierarchy.root, kj::str(path, "/", file).cStr(), F_OK, 0) == 0;
}

uint64_t LimitFiles::readNumber(const Hierarchy& hierarchy, kj::StringPtr file) const {
  auto text = readTextFile(hierarchy.root, kj::str(path, "/", file));
  if (text.startsWith("max")) return kj::maxValue;
  return strtoull(text.cStr(), nullptr, 10);
}

kj::Exception LimitFiles::refusal(kj::StringPtr file, kj::StringPtr value, int error,
                                  kj::StringPtr detail) const {
  auto reason = error == ENOENT ? kj::str("the cgroup has no such file") : kj::str(strerror(error));
  return KJ_EXCEPTION(FAILED, kj::str("the kernel does not take \"", value, "\" for ", file, " of ",
                                      path, ": ", reason, detail.size() > 0 ? "; " : "", detail));
}

}  // namespace belay::shim

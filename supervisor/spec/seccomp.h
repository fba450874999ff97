// System call filters: seccomp profiles compiled by libseccomp to the classic BPF that a shim hands
// to the kernel (seccomp(2), SECCOMP_SET_MODE_FILTER).
#pragma once

#include <kj/array.h>
#include <kj/io.h>
#include <kj/map.h>
#include <kj/string.h>

#include "supervisor/model.capnp.h"

namespace belay::supervisor {

struct SeccompProfile;

// What a process is to be filtered by.
struct SeccompFilter {
  // struct sock_filter[] as bytes; empty: no filter. Valid until the next one is asked for.
  kj::ArrayPtr<const kj::byte> program;
  uint32_t flags = 0;           // SECCOMP_FILTER_FLAG_* of linux/seccomp.h
  kj::String listenerPath;      // Unix socket of who answers for SCMP_ACT_NOTIFY; empty: nobody
  kj::String listenerMetadata;  // passed on to it
};

// Compiled filters by the hash of their profile, kept in memory and in a folder: compiling takes
// tens of milliseconds and some MB, reading one takes nothing.
class SeccompFilters {
 public:
  // The folder is made if absent (0700). Without it, filters are kept in memory alone.
  explicit SeccompFilters(kj::Maybe<kj::StringPtr> cacheFolder);
  KJ_DISALLOW_COPY_AND_MOVE(SeccompFilters);

  // The filter for a profile; none for unconfined and unset. `capabilities` are those that the
  // process is bounded by: the default profile allows more to whom they allow more, and rules of
  // others depend on them. INVALID_ARGUMENT for a localhost profile that is absent or wrong.
  SeccompFilter filter(SecurityProfile::Reader profile, uint64_t capabilities);

 private:
  kj::Maybe<kj::AutoCloseFd> folder;
  kj::HashMap<kj::String, kj::Array<kj::byte>> compiled;

  kj::ArrayPtr<const kj::byte> compiledForm(const SeccompProfile& profile);
};

}  // namespace belay::supervisor

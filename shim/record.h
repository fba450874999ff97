// What the shim writes down on tmpfs for whoever comes after it: a successor, or a supervisor that
// finds it dead.
#pragma once

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/memory.h>
#include <kj/string.h>

namespace belay::shim {

// Replaces the file `name` in the directory by the message: written beside it and renamed, so that
// a reader sees the old one or the new one, whole. No fsync: it need not outlive the machine.
void writeRecord(int dirFd, kj::StringPtr name, capnp::MessageBuilder& message);

// Reads what writeRecord() wrote. Nothing if it is not there; throws if it is no message.
kj::Maybe<kj::Own<capnp::MessageReader>> readRecord(int dirFd, kj::StringPtr name);

// Unlinks a file; absent is fine.
void removeFile(int dirFd, kj::StringPtr name);

// The identity of this boot: what was recorded under another one speaks of nothing that lives.
kj::String readBootId();

}  // namespace belay::shim

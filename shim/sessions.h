// The streaming sessions in progress, and what each needs to go on in another program.
#pragma once

#include <kj/async.h>
#include <kj/list.h>

#include "shim/handover.capnp.h"

namespace belay::shim {

// A session in progress.
class Session {
 public:
  // Only while no Work is under way (work.h). The numbers are those of open descriptors, which stay
  // the session's.
  virtual void handOver(Handover::Session::Builder state) const = 0;

  kj::ListLink<Session> link;

 protected:
  ~Session() = default;
};

// Each puts itself in as long as it lives.
class Sessions {
 public:
  Sessions() = default;
  KJ_DISALLOW_COPY_AND_MOVE(Sessions);

  void add(Session& session) { list.add(session); }
  void remove(Session& session) { list.remove(session); }

  size_t size() const { return list.size(); }
  const kj::List<Session, &Session::link>& all() const { return list; }

 private:
  kj::List<Session, &Session::link> list;
};

}  // namespace belay::shim

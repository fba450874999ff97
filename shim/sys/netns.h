// Sockets in other network namespaces. A socket belongs to the namespace it was made in, for good.
#pragma once

namespace belay::sys {

// socket(2) with protocol 0 in the network namespace `netns`, or in the caller's if that is
// negative. Returns the descriptor, or -1 with errno. The calling thread is in `netns` for that
// one call; a process that could not come back would do everything else in a stranger's network,
// so it ends (abort). Needs CAP_SYS_ADMIN. setns(2).
int newSocketIn(int netns, int family, int type);

}  // namespace belay::sys

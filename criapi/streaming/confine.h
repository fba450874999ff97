// How belay-session gives its powers away before it reads a stranger's first byte.
//
// The client is whoever reached the streaming address; the token is checked only after its request
// has been parsed, and the container writes what the session passes on. Assume that the parsers
// (HTTP, TLS, SPDY, WebSocket, JSON) can be made to run an attacker's code. It then finds a process
//  - of the user nobody, without groups or capabilities, and with no way to any (no_new_privs);
//  - whose root is an empty, read-only file system that nobody else sees;
//  - whose system calls are reading, writing, waiting, and receiving descriptors: no open, no
//  socket, no
//    signal, no process. Anything else kills it;
//  - that nobody but root can trace or read, with bounded memory and descriptors, and no core file;
//  - that holds its client's connection, two sockets to belayd and the shim, and the descriptors of
//    the one exec, attach or port-forward that the token was for.
// It does not die with belayd: a session outlives it.
#pragma once

namespace belay::criapi::streaming {

// Call it when the event loop and the TLS context exist. Throws when a step fails; the caller then
// ends without having read anything. Without root (tests) the steps that need root are left out.
void confine();

}  // namespace belay::criapi::streaming

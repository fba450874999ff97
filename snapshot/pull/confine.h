// How a belay-pull process gives its powers away before it reads a stranger's first byte. This page
// is the security argument; confine.c++ carries it out step by step.
//
// belayd starts each process as root with a handful of descriptors. Images and registries are
// hostile: assume that any parser here can be made to run the attacker's code. What that code can
// reach must then be no more than what its mode needs:
//
//   mode        parses               may touch
//   fetch       HTTP, TLS, JSON      the network; files that belayd hands it; /etc and libraries,
//   to read import      tar, JSON            the archive and the files that belayd hands it
//   decompress  gzip, zstd           fd 0 and fd 1
//   hash        nothing              fd 0, fd 1 and its report
//   unpack      tar                  fd 0, the staging folder of one layer and its report
//
// For all modes:
//  - every descriptor that the mode does not name is closed (close_range);
//  - the user and group become nobody's (65534) and all supplementary groups go. Being root without
//    capabilities is not enough: root's uid alone may signal belayd and write root's files;
//  - the bounding, inheritable and ambient capability sets are emptied, and no_new_privs is set: no
//    later execve can regain anything;
//  - the process is not dumpable, so that its brothers, who run as the same user, cannot read its
//    memory (a fetch knows a registry password);
//  - it dies with belayd (PR_SET_PDEATHSIG), cannot dump core, and its memory is limited.
//
// hash, decompress and import have everything open that they will ever use. A seccomp allow list of
// reading, writing and memory (for import also the socket's recvmsg, sendmsg and epoll) therefore
// confines them fully: without open, socket or any call that names a path or a process there is
// nothing to be reached, and namespaces would add nothing.
//
// unpack must create files with foreign owners, device nodes and file capabilities, so it keeps six
// capabilities: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP. They are dangerous where a
// path leads to the host, so there is no such path: before they matter the process has a mount
// namespace whose only mount is the staging folder (open_tree, move_mount, pivot_root), attached
// nosuid, nodev and noexec; network, IPC, UTS and cgroup namespaces of its own; no descriptor of
// anything else; no SYS_ADMIN, SYS_CHROOT, SYS_PTRACE or DAC_READ_SEARCH with which to leave; and a
// seccomp allow list of file calls without mount, namespace, signal or socket calls. Device nodes
// that a layer makes cannot be opened through the nodev mount. Paths inside are resolved with
// RESOLVE_IN_ROOT anyway (layer-writer.h): the wall is there for the day when that has a hole.
//
// fetch needs the resolver and so files of the host that differ from one host to the next (nsswitch
// modules, resolv.conf behind a symbolic link); it has no root of its own. Landlock lets it read
// /etc, /usr, the library folders and /run's resolver folders, and write nowhere at all; a seccomp
// deny list takes what no HTTP client calls (execve, ptrace, mount, namespaces, io_uring, bpf,
// keyrings, signals to others). Its files come from belayd as descriptors, and belayd believes
// their content only after hash has seen it.
//
// Where the caller is not root (unit tests, a person trying the binary) the steps that need root
// are left out; limits, no_new_privs and seccomp still apply. belayd always runs as root.
#pragma once

#include <kj/io.h>

namespace belay::snapshot {

// Closes every descriptor above `lastFd`; those up to it are the mode's own.
void closeAllAbove(int lastFd);

// For hash and decompress: afterwards only read, write and memory calls work. Throws when any step
// fails; the caller then ends without having read anything.
void confineToPipes();

// For unpack: enters a mount namespace whose root is `folder` and returns an O_PATH descriptor of
// that root. `folder` must lie in a mount of the current mount namespace (open_tree's demand) and
// is closed. Only root can do this: fails with a sentence otherwise.
kj::AutoCloseFd confineToFolder(kj::AutoCloseFd folder);

// For fetch: no capabilities, Landlock and the deny list, before the first thread and connection.
void confineToNetwork();

// For import: like confineToPipes, with the calls that the RPC socket's event loop makes. Call it
// when the event loop exists.
void confineToRpc();

}  // namespace belay::snapshot

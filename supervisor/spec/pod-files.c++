// /etc/hosts, /etc/hostname and /etc/resolv.conf of a pod's containers.
#include "supervisor/spec/pod-files.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <kj/vector.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "supervisor/spec/check.h"

namespace belay::supervisor {

namespace {

constexpr size_t MAX_HOST_FILE_BYTES = 1 << 20;

kj::String readHostFile(const char* path) {
  // O_NONBLOCK: a FIFO in a file's place must not hang belayd.
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return nullptr;
  kj::AutoCloseFd file(fd);
  struct stat info;
  KJ_SYSCALL(fstat(file, &info), path);
  if (!S_ISREG(info.st_mode)) return nullptr;
  auto text = kj::heapArray<char>(std::min<size_t>(info.st_size, MAX_HOST_FILE_BYTES));
  size_t size = kj::FdInputStream(file.get()).tryRead(text.begin(), text.size(), text.size());
  return kj::heapString(text.begin(), size);
}

// One word of a line: what cannot end the line or start another word.
void checkWord(kj::StringPtr field, kj::StringPtr word) {
  if (word.size() == 0) refuse(field, "an empty entry");
  if (word.size() > 255) refuse(field, "an entry of ", word.size(), " bytes");
  for (unsigned char c : word) {
    if (c <= ' ' || c == 0x7f)
      refuse(field, "\"", word, "\" contains a space or control character");
  }
}

kj::String joined(kj::StringPtr field, capnp::List<capnp::Text>::Reader words) {
  kj::Vector<kj::StringPtr> all;
  for (kj::StringPtr word : words) {
    checkWord(field, word);
    all.add(word);
  }
  return kj::strArray(all, " ");
}

kj::String renderHosts(kj::ArrayPtr<const kj::StringPtr> ips, kj::StringPtr hostname) {
  kj::Vector<kj::String> lines;
  lines.add(
      kj::str("# Made by belay for this pod.\n"
              "127.0.0.1\tlocalhost\n"
              "::1\tlocalhost ip6-localhost ip6-loopback\n"
              "fe00::0\tip6-localnet\n"
              "ff02::1\tip6-allnodes\n"
              "ff02::2\tip6-allrouters\n"));
  for (auto ip : ips) {
    checkWord("ip", ip);
    lines.add(kj::str(ip, "\t", hostname, "\n"));
  }
  return kj::strArray(lines, "");
}

kj::String renderResolvConf(PodConfig::Reader pod) {
  kj::Vector<kj::String> lines;
  for (kj::StringPtr server : pod.getDnsServers()) {
    checkWord("dns_config.servers", server);
    lines.add(kj::str("nameserver ", server, "\n"));
  }
  if (pod.getDnsSearches().size() > 0) {
    lines.add(kj::str("search ", joined("dns_config.searches", pod.getDnsSearches()), "\n"));
  }
  if (pod.getDnsOptions().size() > 0) {
    lines.add(kj::str("options ", joined("dns_config.options", pod.getDnsOptions()), "\n"));
  }
  return kj::strArray(lines, "");
}

void writeFile(int folder, kj::StringPtr name, kj::StringPtr content, uint32_t owner) {
  int fd;
  KJ_SYSCALL(
      fd = openat(folder, name.cStr(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644),
      "cannot write a pod's file", name);
  kj::AutoCloseFd file(fd);
  // Every user of the container reads it, whatever umask belayd runs with.
  KJ_SYSCALL(fchmod(file, 0644), name);
  KJ_SYSCALL(fchown(file, owner, owner), name, owner);
  kj::FdOutputStream(file.get()).write(content.begin(), content.size());
}

}  // namespace

PodFiles readHostFiles() {
  return {readHostFile("/etc/hosts"), readHostFile("/etc/hostname"),
          readHostFile("/etc/resolv.conf")};
}

PodFiles renderPodFiles(PodConfig::Reader pod, kj::StringPtr hostname,
                        kj::ArrayPtr<const kj::StringPtr> ips, const PodFiles& host) {
  bool hostNetwork = pod.getSecurity().getNamespaces().getNetwork() == shim::NamespaceMode::NODE;
  PodFiles files;
  if (hostNetwork) {
    files.hosts = kj::str(host.hosts);
    files.hostname = kj::str(host.hostname);
  } else {
    checkWord("hostname", hostname);
    files.hosts = renderHosts(ips, hostname);
    files.hostname = kj::str(hostname, "\n");
  }
  files.resolvConf = renderResolvConf(pod);
  if (files.resolvConf.size() == 0) files.resolvConf = kj::str(host.resolvConf);
  return files;
}

void writePodFiles(int podFolder, const PodFiles& files, uint32_t owner) {
  writeFile(podFolder, "hosts", files.hosts, owner);
  writeFile(podFolder, "hostname", files.hostname, owner);
  writeFile(podFolder, "resolv.conf", files.resolvConf, owner);
}

}  // namespace belay::supervisor

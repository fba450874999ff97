# Between belayd and one belay-pull process that brings an image (`fetch` from a registry, `import`
# from an archive). belay-pull has the network or the archive and every parser of strangers' bytes;
# belayd has the store. belay-pull is started with one end of a socket pair as fd 3 and finds the
# `Ingest` capability there; it never names a path: it asks for a file and is handed one.
#
# The order is: request, then blob and blobDone for each blob it needs (several at once are fine) and
# plan as soon as the configuration is read, then exactly one of complete or failed, then it exits. A socket closed before that means it died.
#
# The other modes of belay-pull speak no Cap'n Proto. Each is started with exactly the descriptors
# below, confines itself first, exits 0 if and only if all went well, and writes one line to its
# report descriptor (a pipe) before it exits; without a report descriptor the line goes to stderr:
#
#   belay-pull hash                     fd 0 input, fd 1 receives the same bytes (closed or /dev/null:
#                                       no copy), fd 3 report: "HEX BYTES\n" (SHA-256 in lower case,
#                                       count in decimal) or "failed SENTENCE\n"
#   belay-pull decompress MEDIATYPE     fd 0 blob, fd 1 tar, fd 3 report: nothing, or
#                                       "failed SENTENCE\n"
#   belay-pull unpack                   fd 0 tar, fd 3 the staging folder (an O_PATH or O_RDONLY
#                                       directory), fd 4 report: "ok ENTRIES BYTES\n" or
#                                       "failed SENTENCE\n"
#   belay-pull remove                   fd 3 a folder: everything inside is deleted; fd 4 report:
#                                       nothing, or "failed SENTENCE\n"
#   belay-pull measure                  fd 3 a folder; fd 4 report: "ok INODES BYTES\n" of what is in
#                                       it, itself included, or "failed SENTENCE\n"
#   belay-pull sync                     fd 3 a folder, whose file system is synced; fd 4 as remove
#
# When several of a pipeline fail, the first of it in the order decompress, hash, unpack is the
# cause; the later ones only saw its end. unpack reads to the end of its input before it says ok.

@0x9fc3cada0cfed3e6;

using Cxx = import "/capnp/c++.capnp";
using Image = import "/snapshot/image.capnp";
$Cxx.namespace("belay::snapshot");
$Cxx.allowCancellation;

struct Host {
  # One endpoint to try, in order (hosts.toml).

  url @0 :Text;
  # "http://127.0.0.1:5000", no trailing slash.

  overridePath @1 :Bool;
  # The URL holds the whole API root: do not append "/v2".

  canResolve @2 :Bool;
  canPull @3 :Bool;
  skipVerify @4 :Bool;
  caFiles @5 :List(Text);
  # Contents (PEM), not paths: belay-pull opens nothing of the host's.

  clientCertificate @6 :Text;
  clientKey @7 :Text;
  headers @8 :List(Header);
  dialTimeoutMs @9 :UInt32;
  isMirror @10 :Bool;
  # Requests carry ?ns=<original host>, and credentials are for the original host only.

  struct Header {
    name @0 :Text;
    value @1 :Text;
  }
}

struct Credentials {
  # At most one way is set; kubelet's precedence is applied by belayd.
  union {
    anonymous @0 :Void;
    basic :group {
      username @1 :Text;
      password @2 :Text;
    }
    identityToken @3 :Text;
    registryToken @4 :Text;
  }
}

struct PullRequest {
  registry @0 :Text;
  # Host of the reference, as written ("docker.io", "127.0.0.1:5000").

  repository @1 :Text;
  tag @2 :Text;
  digest @3 :Text;
  # One of tag and digest is set; with both the digest wins.

  hosts @4 :List(Host);
  credentials @5 :Credentials;
  architecture @6 :Text;
  os @7 :Text;
  variant @8 :Text;
  maxManifestBytes @9 :UInt64;
  maxBlobBytes @10 :UInt64;
  maxLayers @11 :UInt32;
  stallTimeoutMs @12 :UInt64;
  # No byte for so long fails a transfer.

  archiveTag @13 :Text;
  # import only: which name of the archive's index to take; empty takes its single image.
}

enum FailureCode {
  internal @0;
  notFound @1;
  unauthorized @2;
  unavailable @3;
  # Network or registry (also 5xx and 429): worth a retry.

  invalid @4;
  # The registry or archive sent what no image may be.

  digestMismatch @5;
  timedOut @6;
  unsupported @7;
}

interface File {
  # A file descriptor that travels as a capability (getFd). No methods.
}

interface Ingest {
  request @0 () -> (request :PullRequest, archive :File);
  # archive is set for import alone.

  blob @1 (digest :Text, sizeBytes :UInt64) -> (present :Bool, offsetBytes :UInt64, file :File);
  # Asks for a blob's file. present: the store has it, file is open for reading. Otherwise file is
  # open for writing, and offsetBytes bytes of it are already there from an earlier try (ask the
  # registry for the rest by Range, or truncate); the file stands at its end.
  # While another pull downloads the same blob the answer waits for it: ask when ready to transfer,
  # and let no other transfer wait for the answer.

  blobDone @2 (digest :Text) -> (file :File);
  # All bytes are written, and every descriptor of the file is closed and the File dropped: belayd
  # proves that nobody can write it any more before it hashes it (fcntl(2), F_SETLEASE). belayd lets
  # a process that parses nothing hash the file, then renames it into the store and hands it back
  # open for reading. Fails when the digest differs: the partial file is removed then.

  complete @3 (image :Image.Image) -> ();
  # The image as parsed, with blobs all present. belayd checks what it can check without parsing
  # (syntax of digests, chain ids recomputed from diff ids, blobs present) and unpacks next.

  failed @4 (code :FailureCode, message :Text) -> ();

  progress @5 (bytes :UInt64) -> ();
  # Bytes received since the last call; sent now and then, so that a stall is seen from outside too.

  plan @6 (image :Image.Image) -> ();
  # The image that complete will bring, told once its configuration is here and its layers perhaps not
  # yet: belayd unpacks each layer as it comes. At most once; nothing is promised by it.
}

// See http-client.h.
#include "snapshot/pull/http-client.h"

#include <kj/debug.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <memory>

#include "snapshot/pull/pull-error.h"

namespace belay::snapshot {

namespace {

using Easy = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using HeaderList = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

// libcurl reports by return value, each interface with its own type.
void check(CURLcode code) {
  KJ_REQUIRE(code == CURLE_OK, curl_easy_strerror(code));
}
void check(CURLMcode code) {
  KJ_REQUIRE(code == CURLM_OK, curl_multi_strerror(code));
}

CURLM* newMulti() {
  check(curl_global_init(CURL_GLOBAL_DEFAULT));
  CURLM* multi = curl_multi_init();
  KJ_REQUIRE(multi != nullptr, "no memory for libcurl");
  return multi;
}

kj::AutoCloseFd newEpoll() {
  int fd;
  KJ_SYSCALL(fd = epoll_create1(EPOLL_CLOEXEC));
  return kj::AutoCloseFd(fd);
}

void setBlob(CURL* easy, CURLoption option, kj::StringPtr pem) {
  if (pem == "") return;
  curl_blob blob{const_cast<char*>(pem.begin()), pem.size(), CURL_BLOB_COPY};
  check(curl_easy_setopt(easy, option, &blob));
}

// A line break in a header's value would be a header, or a request, of the value's author.
void requireOneLine(const HttpHeader& header) {
  for (char c : header.value) {
    KJ_REQUIRE(static_cast<unsigned char>(c) >= 0x20 || c == '\t',
               "a header's value has a control character in it", header.name);
  }
}

kj::StringPtr trimmed(const char* begin, const char* end, kj::String& storage) {
  while (begin < end && (*begin == ' ' || *begin == '\t'))
    ++begin;
  while (begin < end && strchr(" \t\r\n", end[-1]))
    --end;
  storage = kj::heapString(begin, end - begin);
  return storage;
}

}  // namespace

kj::Maybe<kj::StringPtr> HttpResponse::header(kj::StringPtr name) const {
  for (auto& header : headers) {
    if (strcasecmp(header.name.cStr(), name.cStr()) == 0) return header.value.asPtr();
  }
  return nullptr;
}

// One request on its way. Its destructor takes it out of curl's hands.
class HttpClient::Transfer {
 public:
  Transfer(HttpClient& client, HttpRequest&& requestParam, BodySink&& sink)
      : client(client),
        request(kj::mv(requestParam)),
        sink(kj::mv(sink)),
        easy(curl_easy_init(), &curl_easy_cleanup),
        headerList(nullptr, &curl_slist_free_all),
        done(kj::newPromiseAndFulfiller<void>()),
        lastByte(client.timer.now()) {
    KJ_REQUIRE(easy != nullptr, "no memory for libcurl");
    configure();
    configureTls();
    check(curl_multi_add_handle(client.multi, easy.get()));
  }
  ~Transfer() { curl_multi_remove_handle(client.multi, easy.get()); }
  KJ_DISALLOW_COPY_AND_MOVE(Transfer);

  kj::Promise<HttpResponse> finish() {
    co_await done.promise.exclusiveJoin(failWhenStalled());
    co_return kj::mv(response);
  }

  // curl's last word on this transfer.
  void finished(CURLcode result) {
    KJ_IF_MAYBE (e, sinkFailure) {
      done.fulfiller->reject(kj::mv(*e));
    } else if (result != CURLE_OK) {
      kj::StringPtr detail = errorText[0] ? errorText : curl_easy_strerror(result);
      done.fulfiller->reject(pullError(FailureCode::UNAVAILABLE, detail));
    } else {
      char* url = nullptr;
      curl_easy_getinfo(easy.get(), CURLINFO_REDIRECT_URL, &url);
      if (url != nullptr) response.redirectUrl = kj::heapString(url);
      done.fulfiller->fulfill();
    }
  }

 private:
  template <typename Value>
  void set(CURLoption option, Value value) {
    check(curl_easy_setopt(easy.get(), option, value));
  }

  void configure() {
    set(CURLOPT_PRIVATE, this);
    set(CURLOPT_URL, request.url.cStr());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_USERAGENT, "belay");
    set(CURLOPT_ERRORBUFFER, errorText);
    set(CURLOPT_CONNECTTIMEOUT_MS, long(request.dialTimeout / kj::MILLISECONDS));
    set(CURLOPT_BUFFERSIZE, 256L * 1024);
    set(CURLOPT_HEADERFUNCTION, &Transfer::onHeader);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_WRITEFUNCTION, &Transfer::onBody);
    set(CURLOPT_WRITEDATA, this);
    if (request.method == HttpMethod::HEAD) set(CURLOPT_NOBODY, 1L);
    if (request.method == HttpMethod::POST) {
      set(CURLOPT_POSTFIELDSIZE, long(request.form.size()));
      set(CURLOPT_POSTFIELDS, request.form.cStr());
    }
    for (auto& header : request.headers) {
      requireOneLine(header);
      auto line = kj::str(header.name, ": ", header.value);
      auto longer = curl_slist_append(headerList.get(), line.cStr());
      KJ_REQUIRE(longer != nullptr, "no memory for libcurl");
      headerList.release();
      headerList.reset(longer);
    }
    set(CURLOPT_HTTPHEADER, headerList.get());
  }

  void configureTls() {
    if (request.tls == nullptr) return;
    const TlsSettings& tls = *request.tls;
    if (!tls.verify) {
      set(CURLOPT_SSL_VERIFYPEER, 0L);
      set(CURLOPT_SSL_VERIFYHOST, 0L);
    }
    setBlob(easy.get(), CURLOPT_CAINFO_BLOB, tls.authorities);
    if (!request.presentCertificate) return;
    setBlob(easy.get(), CURLOPT_SSLCERT_BLOB, tls.clientCertificate);
    setBlob(easy.get(), CURLOPT_SSLKEY_BLOB, tls.clientKey);
  }

  kj::Promise<void> failWhenStalled() {
    for (;;) {
      kj::TimePoint due = lastByte + request.stallTimeout;
      if (client.timer.now() >= due) {
        failPull(FailureCode::TIMED_OUT, "no byte came for ",
                 request.stallTimeout / kj::MILLISECONDS, " ms");
      }
      co_await client.timer.atTime(due);
    }
  }

  // Runs `work` for a curl callback: nothing may be thrown through C code.
  size_t guarded(size_t size, kj::Function<void()> work) {
    lastByte = client.timer.now();
    KJ_IF_MAYBE (e, kj::runCatchingExceptions([&]() { work(); })) {
      sinkFailure = kj::mv(*e);
      return 0;  // other than `size`: curl ends the transfer
    }
    return size;
  }

  static size_t onHeader(char* data, size_t one, size_t size, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    return transfer.guarded(size, [&]() { transfer.takeHeader(kj::arrayPtr(data, size)); });
  }

  static size_t onBody(char* data, size_t one, size_t size, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    return transfer.guarded(
        size, [&]() { transfer.sink(transfer.response, kj::arrayPtr(data, size).asBytes()); });
  }

  void takeHeader(kj::ArrayPtr<const char> line) {
    headerBytes += line.size();
    if (headerBytes > MAX_HEADER_BYTES) {
      failPull(FailureCode::INVALID, "the answer's headers are too long");
    }
    if (line.size() > 5 && memcmp(line.begin(), "HTTP/", 5) == 0) {
      // A new head: the one before was an interim answer (100 Continue) or a proxy's.
      long status = 0;
      curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
      response = HttpResponse();
      response.status = status;
      return;
    }
    auto colon = static_cast<const char*>(memchr(line.begin(), ':', line.size()));
    if (colon == nullptr) return;
    HttpHeader header;
    trimmed(line.begin(), colon, header.name);
    trimmed(colon + 1, line.end(), header.value);
    response.headers.add(kj::mv(header));
  }

  HttpClient& client;
  HttpRequest request;
  BodySink sink;
  Easy easy;
  HeaderList headerList;
  kj::PromiseFulfillerPair<void> done;
  kj::TimePoint lastByte;
  HttpResponse response;
  size_t headerBytes = 0;
  kj::Maybe<kj::Exception> sinkFailure;
  char errorText[CURL_ERROR_SIZE] = "";
};

HttpClient::HttpClient(kj::UnixEventPort& port, kj::Timer& timer)
    : timer(timer),
      multi(newMulti()),
      sockets(newEpoll()),
      socketsObserver(port, sockets, kj::UnixEventPort::FdObserver::OBSERVE_READ),
      running(nullptr) {
  check(curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &HttpClient::onSocket));
  check(curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, this));
  check(curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, &HttpClient::onTimer));
  check(curl_multi_setopt(multi, CURLMOPT_TIMERDATA, this));
  running =
      run().eagerlyEvaluate([](kj::Exception&& e) { KJ_LOG(ERROR, "HTTP client stopped", e); });
}

HttpClient::~HttpClient() noexcept(false) {
  running = nullptr;
  curl_multi_cleanup(multi);
}

kj::Promise<HttpResponse> HttpClient::send(HttpRequest request, BodySink sink) {
  Transfer transfer(*this, kj::mv(request), kj::mv(sink));
  co_return co_await transfer.finish();
}

int HttpClient::onSocket(CURL*, curl_socket_t socket, int what, void* self, void*) {
  int sockets = static_cast<HttpClient*>(self)->sockets;
  struct epoll_event event{};
  event.data.fd = socket;
  if (what == CURL_POLL_REMOVE) {
    epoll_ctl(sockets, EPOLL_CTL_DEL, socket, &event);
    return 0;
  }
  if (what & CURL_POLL_IN) event.events |= EPOLLIN;
  if (what & CURL_POLL_OUT) event.events |= EPOLLOUT;
  if (epoll_ctl(sockets, EPOLL_CTL_MOD, socket, &event) == 0) return 0;
  return epoll_ctl(sockets, EPOLL_CTL_ADD, socket, &event);
}

int HttpClient::onTimer(CURLM*, long timeoutMs, void* self) {
  auto& client = *static_cast<HttpClient*>(self);
  if (timeoutMs < 0) {
    client.deadline = nullptr;
  } else {
    client.deadline = client.timer.now() + timeoutMs * kj::MILLISECONDS;
  }
  client.wakeUp();
  return 0;
}

void HttpClient::wakeUp() {
  KJ_IF_MAYBE (fulfiller, sleeper) {
    (*fulfiller)->fulfill();
  }
}

kj::Promise<void> HttpClient::run() {
  for (;;) {
    // Asked for before the sockets are served, so that no change between the two is missed.
    auto changed = socketsObserver.whenBecomesReadable();
    auto woken = kj::newPromiseAndFulfiller<void>();
    sleeper = kj::mv(woken.fulfiller);
    bool busy = serveSockets();
    serveTimer();
    finishTransfers();
    if (busy) {
      // More may be ready already; but others have a turn first.
      co_await kj::evalLater([]() {});
      continue;
    }
    auto wait = changed.exclusiveJoin(kj::mv(woken.promise));
    KJ_IF_MAYBE (due, deadline) {
      wait = wait.exclusiveJoin(timer.atTime(*due));
    }
    co_await wait;
  }
}

// Tells curl of each ready socket; false when there was none.
bool HttpClient::serveSockets() {
  struct epoll_event events[16];
  int count = epoll_wait(sockets, events, 16, 0);
  for (int i = 0; i < count; ++i) {
    int ready = 0;
    if (events[i].events & (EPOLLIN | EPOLLHUP)) ready |= CURL_CSELECT_IN;
    if (events[i].events & EPOLLOUT) ready |= CURL_CSELECT_OUT;
    if (events[i].events & EPOLLERR) ready |= CURL_CSELECT_ERR;
    int left;
    check(curl_multi_socket_action(multi, events[i].data.fd, ready, &left));
  }
  return count > 0;
}

void HttpClient::serveTimer() {
  KJ_IF_MAYBE (due, deadline) {
    if (*due > timer.now()) return;
    // curl sets the next one meanwhile, if it wants one.
    deadline = nullptr;
    int left;
    check(curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &left));
  }
}

void HttpClient::finishTransfers() {
  int left;
  while (CURLMsg* message = curl_multi_info_read(multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    // Both are read before finished(): the message does not outlive the transfer.
    CURLcode result = message->data.result;
    char* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    reinterpret_cast<Transfer*>(transfer)->finished(result);
  }
}

}  // namespace belay::snapshot

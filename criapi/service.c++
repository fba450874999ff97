// The CRI's methods, and which function serves which.
#include "criapi/service.h"

#include "snapshot/failure.h"

namespace belay::criapi {
namespace {

constexpr kj::StringPtr RUNTIME = "/runtime.v1.RuntimeService/"_kj;
constexpr kj::StringPtr IMAGE = "/runtime.v1.ImageService/"_kj;

[[noreturn]] void refuseUnbuilt(grpc::Call& call) {
  snapshot::fail(snapshot::Code::UNIMPLEMENTED, "belay does not serve ", call.path().slice(1),
                 " yet");
}

// Adds methods of one service to a server.
class Methods {
 public:
  Methods(grpc::Server& server, Context& context, kj::StringPtr service)
      : server(server), context(context), service(service) {}

  template <typename Request, typename Response>
  void add(kj::StringPtr name,
           kj::Promise<Response> (*handler)(Context& context, const Request& request),
           grpc::OnRelay onRelay = grpc::OnRelay::REPEAT) {
    auto serve = [&context = context, handler](grpc::Call&, const Request& request) {
      return handler(context, request);
    };
    server.unary<Request, Response>(path(name), kj::mv(serve), onRelay);
  }

  template <typename Request, typename Response>
  void add(kj::StringPtr name,
           kj::Promise<void> (*handler)(Context& context, const Request& request,
                                        grpc::StreamWriter<Response>& writer)) {
    server.serverStream<Request, Response>(
        path(name), [&context = context, handler](grpc::Call&, const Request& request,
                                                  grpc::StreamWriter<Response>& writer) {
          return handler(context, request, writer);
        });
  }

  void addUnbuilt(kj::StringPtr name) {
    server.addUnary(
        path(name),
        [](grpc::Call& call, kj::ArrayPtr<const kj::byte>) -> kj::Promise<kj::Array<kj::byte>> {
          refuseUnbuilt(call);
        });
  }

  void addUnbuiltStream(kj::StringPtr name) {
    server.addStream(path(name),
                     [](grpc::Call& call, kj::ArrayPtr<const kj::byte>,
                        grpc::MessageWriter&) -> kj::Promise<void> { refuseUnbuilt(call); });
  }

 private:
  kj::String path(kj::StringPtr name) { return kj::str(service, name); }

  grpc::Server& server;
  Context& context;
  kj::StringPtr service;
};

void addRuntimeService(Methods methods) {
  methods.add("Version", &version);
  methods.add("Status", &status);
  methods.add("RuntimeConfig", &runtimeConfig);
  methods.addUnbuilt("UpdateRuntimeConfig");

  methods.add("RunPodSandbox", &runPodSandbox);
  methods.add("StopPodSandbox", &stopPodSandbox);
  methods.add("RemovePodSandbox", &removePodSandbox);
  methods.add("PodSandboxStatus", &podSandboxStatus);
  methods.add("ListPodSandbox", &listPodSandbox);
  methods.add("StreamPodSandboxes", &streamPodSandboxes);
  methods.add("UpdatePodSandboxResources", &updatePodSandboxResources);

  methods.add("CreateContainer", &createContainer);
  methods.add("StartContainer", &startContainer);
  methods.add("StopContainer", &stopContainer);
  methods.add("RemoveContainer", &removeContainer);
  methods.add("ListContainers", &listContainers);
  methods.add("StreamContainers", &streamContainers);
  methods.add("ContainerStatus", &containerStatus);
  methods.add("UpdateContainerResources", &updateContainerResources);
  methods.add("ReopenContainerLog", &reopenContainerLog);

  methods.add("ExecSync", &execSync, grpc::OnRelay::FINISH);
  methods.add("Exec", &exec);
  methods.add("Attach", &attach);
  methods.add("PortForward", &portForward);

  methods.add("ContainerStats", &containerStats);
  methods.add("ListContainerStats", &listContainerStats);
  methods.add("StreamContainerStats", &streamContainerStats);
  methods.add("PodSandboxStats", &podSandboxStats);
  methods.add("ListPodSandboxStats", &listPodSandboxStats);
  methods.add("StreamPodSandboxStats", &streamPodSandboxStats);
  methods.addUnbuilt("ListMetricDescriptors");
  methods.addUnbuilt("ListPodSandboxMetrics");
  methods.addUnbuiltStream("StreamPodSandboxMetrics");
  methods.addUnbuiltStream("GetContainerEvents");

  methods.addUnbuilt("CheckpointContainer");
  methods.addUnbuilt("CheckpointPod");
  methods.addUnbuilt("RestorePod");
}

void addImageService(Methods methods) {
  methods.add("ListImages", &listImages);
  methods.add("StreamImages", &streamImages);
  methods.add("ImageStatus", &imageStatus);
  methods.add("PullImage", &pullImage);
  methods.add("RemoveImage", &removeImage);
  methods.add("ImageFsInfo", &imageFsInfo);
}

}  // namespace

CriService::CriService(supervisor::Runtime& runtime, streaming::StreamUrls& streams,
                       kj::StringPtr version, const kj::Clock& clock)
    : context{runtime, streams, kj::str(version), clock} {}

void CriService::registerOn(grpc::Server& server) {
  addRuntimeService(Methods(server, context, RUNTIME));
  addImageService(Methods(server, context, IMAGE));
}

}  // namespace belay::criapi

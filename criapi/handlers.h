// The RPCs that are built, one function each, in a file named for it. Each checks and translates
// its request, asks the supervisor, and translates the answer. What it throws becomes the call's
// status (failure-status.h). Semantics that the CRI leaves open are in cri.md.
//
// `context` outlives every call; `request` lives as long as the returned promise. Dropping a
// promise stops the waiting, not the work (supervisor/runtime.h).
#pragma once

#include <kj/time.h>

#include "criapi/cri.pb.h"
#include "criapi/grpc/server.h"
#include "criapi/streaming/stream-request.h"
#include "supervisor/runtime.h"

namespace belay::criapi {

namespace v1 = runtime::v1;

// What handlers work with.
struct Context {
  supervisor::Runtime& runtime;
  streaming::StreamUrls& streams;
  kj::String version;
  const kj::Clock& clock;
};

// The runtime itself.
kj::Promise<v1::VersionResponse> version(Context& context, const v1::VersionRequest& request);
kj::Promise<v1::StatusResponse> status(Context& context, const v1::StatusRequest& request);
kj::Promise<v1::RuntimeConfigResponse> runtimeConfig(Context& context,
                                                     const v1::RuntimeConfigRequest& request);

// Pods.
kj::Promise<v1::RunPodSandboxResponse> runPodSandbox(Context& context,
                                                     const v1::RunPodSandboxRequest& request);
kj::Promise<v1::StopPodSandboxResponse> stopPodSandbox(Context& context,
                                                       const v1::StopPodSandboxRequest& request);
kj::Promise<v1::RemovePodSandboxResponse> removePodSandbox(
    Context& context, const v1::RemovePodSandboxRequest& request);
kj::Promise<v1::UpdatePodSandboxResourcesResponse> updatePodSandboxResources(
    Context& context, const v1::UpdatePodSandboxResourcesRequest& request);
kj::Promise<v1::PodSandboxStatusResponse> podSandboxStatus(
    Context& context, const v1::PodSandboxStatusRequest& request);
kj::Promise<v1::ListPodSandboxResponse> listPodSandbox(Context& context,
                                                       const v1::ListPodSandboxRequest& request);
kj::Promise<void> streamPodSandboxes(Context& context, const v1::StreamPodSandboxesRequest& request,
                                     grpc::StreamWriter<v1::StreamPodSandboxesResponse>& writer);

// Containers.
kj::Promise<v1::CreateContainerResponse> createContainer(Context& context,
                                                         const v1::CreateContainerRequest& request);
kj::Promise<v1::StartContainerResponse> startContainer(Context& context,
                                                       const v1::StartContainerRequest& request);
kj::Promise<v1::StopContainerResponse> stopContainer(Context& context,
                                                     const v1::StopContainerRequest& request);
kj::Promise<v1::RemoveContainerResponse> removeContainer(Context& context,
                                                         const v1::RemoveContainerRequest& request);
kj::Promise<v1::UpdateContainerResourcesResponse> updateContainerResources(
    Context& context, const v1::UpdateContainerResourcesRequest& request);
kj::Promise<v1::ListContainersResponse> listContainers(Context& context,
                                                       const v1::ListContainersRequest& request);
kj::Promise<void> streamContainers(Context& context, const v1::StreamContainersRequest& request,
                                   grpc::StreamWriter<v1::StreamContainersResponse>& writer);
kj::Promise<v1::ContainerStatusResponse> containerStatus(Context& context,
                                                         const v1::ContainerStatusRequest& request);
kj::Promise<v1::ExecSyncResponse> execSync(Context& context, const v1::ExecSyncRequest& request);
kj::Promise<v1::ReopenContainerLogResponse> reopenContainerLog(
    Context& context, const v1::ReopenContainerLogRequest& request);

// Usage.
kj::Promise<v1::ContainerStatsResponse> containerStats(Context& context,
                                                       const v1::ContainerStatsRequest& request);
kj::Promise<v1::ListContainerStatsResponse> listContainerStats(
    Context& context, const v1::ListContainerStatsRequest& request);
kj::Promise<void> streamContainerStats(
    Context& context, const v1::StreamContainerStatsRequest& request,
    grpc::StreamWriter<v1::StreamContainerStatsResponse>& writer);
kj::Promise<v1::PodSandboxStatsResponse> podSandboxStats(Context& context,
                                                         const v1::PodSandboxStatsRequest& request);
kj::Promise<v1::ListPodSandboxStatsResponse> listPodSandboxStats(
    Context& context, const v1::ListPodSandboxStatsRequest& request);
kj::Promise<void> streamPodSandboxStats(
    Context& context, const v1::StreamPodSandboxStatsRequest& request,
    grpc::StreamWriter<v1::StreamPodSandboxStatsResponse>& writer);

// Streams: each answers with a URL, where the client then connects.
kj::Promise<v1::ExecResponse> exec(Context& context, const v1::ExecRequest& request);
kj::Promise<v1::AttachResponse> attach(Context& context, const v1::AttachRequest& request);
kj::Promise<v1::PortForwardResponse> portForward(Context& context,
                                                 const v1::PortForwardRequest& request);

// Images.
kj::Promise<v1::ListImagesResponse> listImages(Context& context,
                                               const v1::ListImagesRequest& request);
kj::Promise<void> streamImages(Context& context, const v1::StreamImagesRequest& request,
                               grpc::StreamWriter<v1::StreamImagesResponse>& writer);
kj::Promise<v1::ImageStatusResponse> imageStatus(Context& context,
                                                 const v1::ImageStatusRequest& request);
kj::Promise<v1::PullImageResponse> pullImage(Context& context, const v1::PullImageRequest& request);
kj::Promise<v1::RemoveImageResponse> removeImage(Context& context,
                                                 const v1::RemoveImageRequest& request);
kj::Promise<v1::ImageFsInfoResponse> imageFsInfo(Context& context,
                                                 const v1::ImageFsInfoRequest& request);

}  // namespace belay::criapi

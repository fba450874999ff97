// Images: names and credentials in requests, and stored images as the CRI reports them.
#pragma once

#include "criapi/cri.pb.h"
#include "criapi/field.h"
#include "supervisor/runtime.h"

namespace belay::criapi {

// Which image a request is about: its reference or id, never empty.
kj::String imageReferenceOf(const runtime::v1::ImageSpec& spec, const Field& field);

// Refuses control characters, which would let a credential add lines to a request's head. What is
// refused is named, not shown.
supervisor::PullCredentials credentialsOf(const runtime::v1::AuthConfig& auth, const Field& field);

void readImage(snapshot::Image::Reader reader, runtime::v1::Image& image);

}  // namespace belay::criapi

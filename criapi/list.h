// Lists as the CRI wants them: never failing because of one item, and in portions when streamed.
#pragma once

#include <google/protobuf/repeated_field.h>
#include <kj/async.h>
#include <kj/debug.h>

namespace belay::criapi {

// Appends an item that `read` fills; leaves it out, with a line in the log, if `read` throws. A
// list that fails as a whole would blind the kubelet to every pod of the node.
template <typename Item, typename Read>
void addReadable(google::protobuf::RepeatedPtrField<Item>& items, Read&& read) {
  Item item;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { read(item); })) {
    KJ_LOG(ERROR, "left an item out of a list because it cannot be reported", *exception);
    return;
  }
  *items.Add() = std::move(item);
}

// A streamed message's items amount to about this many bytes: far below every client's limit of a
// message, and enough that a node's whole list is a few messages.
constexpr size_t STREAM_PORTION_BYTES = 256 * 1024;

// Streams `items` as messages, each holding a portion of them in the repeated field that
// `itemsOf(message)` gives. No item, no message.
template <typename Message, typename Item, typename Writer, typename ItemsOf>
kj::Promise<void> streamPortions(google::protobuf::RepeatedPtrField<Item> items, Writer& writer,
                                 ItemsOf itemsOf) {
  Message portion;
  size_t bytes = 0;
  for (auto& item : items) {
    bytes += item.ByteSizeLong();
    *itemsOf(portion)->Add() = std::move(item);
    if (bytes < STREAM_PORTION_BYTES) continue;
    co_await writer.write(portion);
    portion.Clear();
    bytes = 0;
  }
  if (itemsOf(portion)->size() > 0) co_await writer.write(portion);
}

}  // namespace belay::criapi

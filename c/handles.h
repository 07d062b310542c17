// What the opaque types of <strata/c.h> are: each holds all that it needs, so that they may be
// closed in any order.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "c/boundary.h"
#include "strata/gpu/timeline.h"
#include "strata/heap/heap.h"
#include "strata/pmem/pool.h"
#include "strata/segment/catalog.h"
#include "strata/segment/segment.h"
#include "strata/sync/mpmc_ring.h"
#include "strata/sync/spsc_ring.h"

struct strata_catalog : strata::c::HandleBase<strata::c::magic_of("Scatalog")> {
  explicit strata_catalog(strata::Catalog of) : catalog(std::move(of)) {}
  strata::Catalog catalog;
};

struct strata_segment : strata::c::HandleBase<strata::c::magic_of("Ssegment")> {
  explicit strata_segment(strata::Segment of)
      : segment(std::move(of)), uri(segment.uri().to_string()) {}
  strata::Segment segment;
  const std::string uri;
  // It was lent to a callback, which cannot close it.
  bool is_lent = false;
};

struct strata_sync_context : strata::c::HandleBase<strata::c::magic_of("Ssynctxt")> {
  strata_sync_context(const strata::Segment& in, strata::SyncContext of, const std::byte* at)
      : segment(in.share()), context(std::move(of)), payload(at) {}
  // `bytes` at `address` are in the payload, which may be written, and aligned.
  bool is_place(const void* address, std::uint64_t bytes, std::uint64_t align) const {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    const std::uint64_t offset = at - reinterpret_cast<std::uintptr_t>(payload);
    const std::uint64_t limit = segment.payload_bytes();
    return offset < limit && limit - offset >= bytes && at % align == 0 &&
           segment.access() == strata::Access::read_write;
  }
  // The same. Errors: invalid_argument; failed_precondition where it may not be written any more.
  strata::Result<void> check_place(const void* address, std::uint64_t bytes, std::uint64_t align,
                                   const char* argument) const;
  // From there to the end of the payload.
  strata::Result<std::span<std::byte>> room_at(void* address, const char* argument) const;

  mutable strata::Segment segment;
  const strata::SyncContext context;
  const std::byte* const payload;  // it stays where it is
};

struct strata_spsc_producer : strata::c::HandleBase<strata::c::magic_of("Sproduce")> {
  explicit strata_spsc_producer(strata::SpscProducer of) : producer(std::move(of)) {}
  strata::SpscProducer producer;
};

struct strata_spsc_consumer : strata::c::HandleBase<strata::c::magic_of("Sconsume")> {
  explicit strata_spsc_consumer(strata::SpscConsumer of) : consumer(std::move(of)) {}
  strata::SpscConsumer consumer;
};

struct strata_mpmc_ring : strata::c::HandleBase<strata::c::magic_of("Smpmring")> {
  explicit strata_mpmc_ring(strata::MpmcRing of) : ring(std::move(of)) {}
  strata::MpmcRing ring;
};

struct strata_heap : strata::c::HandleBase<strata::c::magic_of("Sheap...")> {
  explicit strata_heap(strata::Heap of) : heap(std::move(of)) {}
  // Const functions of C change what is shared, never the handle.
  mutable strata::Heap heap;
};

struct strata_draft : strata::c::HandleBase<strata::c::magic_of("Sdraft..")> {
  strata_draft(const strata::Heap& in, strata::Heap::Draft of)
      : heap(in.share()), draft(std::move(of)) {}
  strata::Heap heap;
  strata::Heap::Draft draft;
};

struct strata_transaction : strata::c::HandleBase<strata::c::magic_of("Stransac")> {
  strata_transaction(const strata::Heap& in, strata::OpenTransaction of)
      : heap(in.share()), open(std::move(of)) {}
  strata::Heap heap;
  strata::OpenTransaction open;
};

struct strata_pool : strata::c::HandleBase<strata::c::magic_of("Spool...")> {
  explicit strata_pool(strata::Pool of) : pool(std::move(of)) {}
  strata::Pool pool;
};

struct strata_timeline : strata::c::HandleBase<strata::c::magic_of("Stimelin")> {
  explicit strata_timeline(strata::cuda::Timeline of) : timeline(std::move(of)) {}
  strata::cuda::Timeline timeline;
};

struct strata_signaller : strata::c::HandleBase<strata::c::magic_of("Ssignall")> {
  explicit strata_signaller(strata::cuda::Signaller of) : signaller(std::move(of)) {}
  strata::cuda::Signaller signaller;
};

struct strata_follower : strata::c::HandleBase<strata::c::magic_of("Sfollowe")> {
  explicit strata_follower(strata::cuda::Follower of) : follower(std::move(of)) {}
  strata::cuda::Follower follower;
};

struct strata_pending_wait : strata::c::HandleBase<strata::c::magic_of("Spending")> {
  explicit strata_pending_wait(strata::cuda::PendingWait of) : wait(std::move(of)) {}
  strata::cuda::PendingWait wait;
};

// Semaphores, events and barriers in shared bytes.
#include <new>

#include "c/place.h"
#include "strata/sync/barrier.h"
#include "strata/sync/event.h"
#include "strata/sync/semaphore.h"

using namespace strata;
using namespace strata::c;

namespace {

Result<Semaphore*> semaphore_of(const strata_sync_context* context,
                                const strata_semaphore* semaphore) {
  return primitive<Semaphore>(context, semaphore, "semaphore");
}
Result<Event*> event_of(const strata_sync_context* context, const strata_event* event) {
  return primitive<Event>(context, event, "event");
}
Result<Barrier*> barrier_of(const strata_sync_context* context, const strata_barrier* barrier) {
  return primitive<Barrier>(context, barrier, "barrier");
}

}  // namespace

int strata_semaphore_init(strata_sync_context* context, strata_semaphore* semaphore,
                          uint32_t permits) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(Semaphore* const place, semaphore_of(context, semaphore));
    if (permits == 0 || permits > Semaphore::kMaxPermits) return is_too_large("permits", permits);
    ::new (static_cast<void*>(place)) Semaphore(permits);
    return {};
  });
}

int strata_semaphore_acquire(strata_sync_context* context, strata_semaphore* semaphore,
                             uint64_t timeout_ms, uint32_t* permit, int* how) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(Semaphore* const shared, semaphore_of(context, semaphore));
    STRATA_TRY(check_pointer(permit, "permit"));
    STRATA_TRY(check_pointer(how, "how"));
    STRATA_ASSIGN(const Semaphore::Permit got,
                  shared->acquire(context->context, Deadline::after_ms(timeout_ms)));
    *permit = got.index;
    *how = how_of(got.how);
    return {};
  });
}

int strata_semaphore_release(strata_sync_context* context, strata_semaphore* semaphore,
                             uint32_t permit) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(Semaphore* const shared, semaphore_of(context, semaphore));
    return shared->release(context->context, {permit, Acquired::clean});
  });
}

int strata_event_set(strata_sync_context* context, strata_event* event) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(Event* const shared, event_of(context, event));
    shared->set(context->context);
    return {};
  });
}

int strata_event_reset(strata_sync_context* context, strata_event* event) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(Event* const shared, event_of(context, event));
    shared->reset(context->context);
    return {};
  });
}

int strata_event_is_set(strata_sync_context* context, const strata_event* event, int* is_set) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(const Event* const shared, event_of(context, event));
    STRATA_TRY(check_pointer(is_set, "is_set"));
    *is_set = shared->is_set(context->context) ? 1 : 0;
    return {};
  });
}

int strata_event_wait(strata_sync_context* context, strata_event* event, uint64_t timeout_ms) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(Event* const shared, event_of(context, event));
    return shared->wait(context->context, Deadline::after_ms(timeout_ms));
  });
}

int strata_barrier_init(strata_sync_context* context, strata_barrier* barrier,
                        uint32_t participants) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(Barrier* const place, barrier_of(context, barrier));
    if (participants == 0 || participants > Barrier::kMaxParticipants)
      return is_too_large("participants", participants);
    ::new (static_cast<void*>(place)) Barrier(participants);
    return {};
  });
}

int strata_barrier_join(strata_sync_context* context, strata_barrier* barrier, uint32_t* seat) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(Barrier* const shared, barrier_of(context, barrier));
    STRATA_TRY(check_pointer(seat, "seat"));
    STRATA_ASSIGN(*seat, shared->join(context->context));
    return {};
  });
}

int strata_barrier_leave(strata_sync_context* context, strata_barrier* barrier, uint32_t seat) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(Barrier* const shared, barrier_of(context, barrier));
    return shared->leave(context->context, seat);
  });
}

int strata_barrier_arrive(strata_sync_context* context, strata_barrier* barrier, uint32_t seat,
                          strata_arrival* arrival) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(Barrier* const shared, barrier_of(context, barrier));
    STRATA_TRY(check_pointer(arrival, "arrival"));
    STRATA_ASSIGN(const Barrier::Arrival arrived, shared->arrive(context->context, seat));
    *arrival = {arrived.seat, arrived.phase};
    return {};
  });
}

int strata_barrier_wait(strata_sync_context* context, strata_barrier* barrier,
                        const strata_arrival* arrival, uint64_t timeout_ms) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(Barrier* const shared, barrier_of(context, barrier));
    STRATA_TRY(check_pointer(arrival, "arrival"));
    return shared->wait(context->context, {arrival->seat, arrival->phase},
                        Deadline::after_ms(timeout_ms));
  });
}

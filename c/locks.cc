// Mutexes, reader-writer locks and conditions in shared bytes.
#include "c/place.h"
#include "strata/sync/condition.h"
#include "strata/sync/robust_mutex.h"
#include "strata/sync/rw_lock.h"

using namespace strata;
using namespace strata::c;

namespace {

Result<RobustMutex*> mutex_of(const strata_sync_context* context, const strata_mutex* mutex) {
  return primitive<RobustMutex>(context, mutex, "mutex");
}
Result<RwLock*> rw_lock_of(const strata_sync_context* context, const strata_rw_lock* lock) {
  return primitive<RwLock>(context, lock, "lock");
}
Result<Condition*> condition_of(const strata_sync_context* context,
                                const strata_condition* condition) {
  return primitive<Condition>(context, condition, "condition");
}

}  // namespace

int strata_mutex_lock(strata_sync_context* context, strata_mutex* mutex, uint64_t timeout_ms,
                      int* how) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(RobustMutex* const lock, mutex_of(context, mutex));
    STRATA_TRY(check_pointer(how, "how"));
    STRATA_ASSIGN(const Acquired acquired, lock->lock_for_ms(context->context, timeout_ms));
    *how = how_of(acquired);
    return {};
  });
}

int strata_mutex_unlock(strata_sync_context* context, strata_mutex* mutex) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(RobustMutex* const lock, mutex_of(context, mutex));
    return lock->unlock(context->context);
  });
}

int strata_mutex_mark_repaired(strata_sync_context* context, strata_mutex* mutex) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(RobustMutex* const lock, mutex_of(context, mutex));
    return lock->mark_repaired(context->context);
  });
}

int strata_mutex_is_held(strata_sync_context* context, const strata_mutex* mutex, int* is_held) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(const RobustMutex* const lock, mutex_of(context, mutex));
    STRATA_TRY(check_pointer(is_held, "is_held"));
    *is_held = lock->is_held_by(context->context) ? 1 : 0;
    return {};
  });
}

int strata_rw_lock_lock_shared(strata_sync_context* context, strata_rw_lock* lock,
                               uint64_t timeout_ms, uint32_t* hold) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(RwLock* const shared, rw_lock_of(context, lock));
    STRATA_TRY(check_pointer(hold, "hold"));
    STRATA_ASSIGN(const RwLock::ReadHold got,
                  shared->lock_shared(context->context, Deadline::after_ms(timeout_ms)));
    *hold = got.seat;
    return {};
  });
}

int strata_rw_lock_unlock_shared(strata_sync_context* context, strata_rw_lock* lock,
                                 uint32_t hold) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(RwLock* const shared, rw_lock_of(context, lock));
    return shared->unlock_shared(context->context, {hold});
  });
}

int strata_rw_lock_lock(strata_sync_context* context, strata_rw_lock* lock, uint64_t timeout_ms,
                        int* how) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(RwLock* const shared, rw_lock_of(context, lock));
    STRATA_TRY(check_pointer(how, "how"));
    STRATA_ASSIGN(const Acquired acquired,
                  shared->lock(context->context, Deadline::after_ms(timeout_ms)));
    *how = how_of(acquired);
    return {};
  });
}

int strata_rw_lock_unlock(strata_sync_context* context, strata_rw_lock* lock) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(RwLock* const shared, rw_lock_of(context, lock));
    return shared->unlock(context->context);
  });
}

int strata_rw_lock_mark_repaired(strata_sync_context* context, strata_rw_lock* lock) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(RwLock* const shared, rw_lock_of(context, lock));
    return shared->mark_repaired(context->context);
  });
}

int strata_condition_wait(strata_sync_context* context, strata_condition* condition,
                          strata_mutex* mutex, uint64_t timeout_ms, int* was_notified, int* how) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(Condition* const waited, condition_of(context, condition));
    STRATA_ASSIGN(RobustMutex* const lock, mutex_of(context, mutex));
    STRATA_TRY(check_pointer(was_notified, "was_notified"));
    STRATA_TRY(check_pointer(how, "how"));
    STRATA_ASSIGN(const Condition::Outcome outcome,
                  waited->wait(context->context, *lock, Deadline::after_ms(timeout_ms)));
    *was_notified = outcome.wake == Wake::notified ? 1 : 0;
    *how = how_of(outcome.mutex);
    return {};
  });
}

int strata_condition_notify_one(strata_sync_context* context, strata_condition* condition) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(Condition* const waited, condition_of(context, condition));
    waited->notify_one();
    return {};
  });
}

int strata_condition_notify_all(strata_sync_context* context, strata_condition* condition) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(Condition* const waited, condition_of(context, condition));
    waited->notify_all();
    return {};
  });
}

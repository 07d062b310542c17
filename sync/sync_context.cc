#include "strata/sync/sync_context.h"

#include <fmt/format.h>

#include "os/os.h"

namespace strata::inline v0_1 {
namespace {

// About as long as a sleep and a wake-up take, so that spinning in vain costs twice at most.
constexpr std::uint32_t kSpins = 400;

}  // namespace

std::uint32_t SyncContext::spins_for(Os& os) {
  const auto cpus = os.get_affinity();
  return cpus && cpus->size() > 1 ? kSpins : 0;
}

std::string SyncContext::describe(std::uint32_t token) const {
  if (token == this->token())
    return fmt::format("token {}: this process, pid {}", token, owner_->pid());
  return fmt::format("token {}: {}", token, owner_->describe(token));
}

bool SyncContext::is_dead(std::uint32_t token) const {
  if (token == this->token()) return false;
  const Result<bool> alive = owner_->is_alive(token);
  const bool is_dead = alive && !*alive;
  // Polls are to find it too.
  if (is_dead) owner_->forget(token);
  return is_dead;
}

bool SyncContext::seems_dead(std::uint32_t token, std::uint64_t coarse_ns) const {
  if (owner_->was_found_alive(token, coarse_ns)) return false;
  if (is_dead(token)) return true;
  owner_->remember_alive(token, coarse_ns);
  return false;
}

}  // namespace strata::inline v0_1

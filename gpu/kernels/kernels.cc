#include "strata/gpu/kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/long_hash.h"
#include "gpu/driver.h"
#include "gpu/kernels/ptx_text.h"
#include "gpu/kernels/xxh3.h"
#include "gpu/leftovers.h"

namespace strata::inline v0_1::cuda {
namespace {

constexpr unsigned kThreads = 256;
// Enough for any device; each thread goes on where the grid ends.
constexpr std::uint64_t kMostBlocks = 2048;
constexpr std::uint64_t kBytesOfThread = 64;
constexpr std::uint64_t kLeastBlockBytes = 1024;
constexpr std::uint64_t kLeastScratchBytes = 4096;

unsigned blocks_for(std::uint64_t bytes) {
  const std::uint64_t wanted = bytes / (kThreads * kBytesOfThread) + 1;
  return static_cast<unsigned>(std::min(wanted, kMostBlocks));
}

Result<void> check_address(const DeviceSpan& span) {
  if (span.address % 8 == 0) return {};
  return fail(
      Code::invalid_argument,
      fmt::format("device address {:#x}: kernels need a multiple of 8 bytes", span.address));
}

ContentHash canonical(std::uint64_t low, std::uint64_t high) {
  ContentHash hash;
  for (unsigned i = 0; i < 8; ++i) {
    hash[i] = static_cast<std::uint8_t>(high >> (56 - 8 * i));
    hash[8 + i] = static_cast<std::uint8_t>(low >> (56 - 8 * i));
  }
  return hash;
}

}  // namespace

// Scratch that nobody else uses. What a stream may still write to at its end, also after a failure,
// is kept from everybody until the stream has passed it (gpu/leftovers.h).
class Kernels::Loan {
 public:
  Loan(Kernels& owner, Scratch scratch) : owner_(&owner), scratch_(std::move(scratch)) {}
  Loan(Loan&& other) noexcept
      : owner_(std::exchange(other.owner_, nullptr)), scratch_(std::move(other.scratch_)) {}
  Loan& operator=(Loan&&) = delete;
  ~Loan() {
    if (!owner_ || !owner_->driver_.is_usable()) return;
    if (!is_in_flight_) {
      owner_->give_back(std::move(scratch_));
      return;
    }
    keep_leftover(owner_->driver_, 2 * scratch_.bytes,
                  [owner = owner_, is_marked = is_marked_,
                   kept = std::make_shared<Scratch>(std::move(scratch_))] {
                    if (!is_marked || !kept->landed.is_reached().value_or(false)) return false;
                    return owner->free(*kept);
                  });
  }

  Scratch& scratch() { return scratch_; }
  void set_in_flight() { is_in_flight_ = true; }
  // The event of the scratch stands behind what may write to it.
  void set_marked() { is_marked_ = true; }
  void set_landed() { is_in_flight_ = false; }

 private:
  Kernels* owner_;
  Scratch scratch_;
  bool is_in_flight_ = false;
  bool is_marked_ = false;
};

Result<std::shared_ptr<Kernels>> Kernels::of(Device& device) {
  static std::mutex mutex;
  // As the devices, for the life of the process.
  static auto& loaded = *new std::map<const Device*, std::shared_ptr<Kernels>>;
  const std::lock_guard lock(mutex);
  const auto found = loaded.find(&device);
  if (found != loaded.end()) return found->second;
  std::shared_ptr<Kernels> kernels(new Kernels(device));
  STRATA_TRY(kernels->load());
  loaded.emplace(&device, kernels);
  return kernels;
}

Kernels::~Kernels() {
  if (!module_ || !driver_.is_usable()) return;
  const auto scope = device_.enter();
  if (!scope) return;
  for (Scratch& scratch : idle_)
    give_up(std::move(scratch));
  (void)driver_.call().cuModuleUnload(module_);
}

Result<void> Kernels::load() {
  STRATA_TRY(driver_.require(DriverFeature::kernels));
  STRATA_ASSIGN(const ContextScope scope, device_.enter());
  STRATA_TRY(STRATA_CUDA(driver_, cuModuleLoadData, &module_, kKernelsPtx));
  const auto get = [&](CuFunction& function, const char* name) {
    return STRATA_CUDA(driver_, cuModuleGetFunction, &function, module_, name);
  };
  STRATA_TRY(get(fill_, "strata_fill"));
  STRATA_TRY(get(find_difference_, "strata_find_difference"));
  return get(hash_blocks_, "strata_hash_blocks");
}

Result<void> Kernels::launch(CuFunction function, unsigned blocks, unsigned threads,
                             void** parameters, CuStream stream) {
  return STRATA_CUDA(driver_, cuLaunchKernel, function, blocks, 1, 1, threads, 1, 1, 0, stream,
                     parameters, nullptr);
}

Result<void> Kernels::fill(const DeviceSpan& to, std::uint64_t value, CuStream stream) {
  STRATA_TRY(check_address(to));
  if (to.bytes == 0) return {};
  STRATA_ASSIGN(const ContextScope scope, device_.enter());
  std::uint64_t address = to.address;
  std::uint64_t bytes = to.bytes;
  void* parameters[] = {&address, &bytes, &value};
  return launch(fill_, blocks_for(bytes), kThreads, parameters, stream);
}

Result<std::optional<std::uint64_t>> Kernels::find_difference(const DeviceSpan& a,
                                                              const DeviceSpan& b, CuStream stream,
                                                              Deadline deadline) {
  if (a.bytes != b.bytes) {
    return fail(Code::invalid_argument,
                fmt::format("compare {} bytes with {}: sizes differ", a.bytes, b.bytes));
  }
  STRATA_TRY(check_address(a));
  STRATA_TRY(check_address(b));
  if (a.bytes == 0) return std::nullopt;
  STRATA_ASSIGN(const ContextScope scope, device_.enter());
  constexpr std::uint64_t kNone = ~std::uint64_t{0};
  STRATA_ASSIGN(Loan loan, borrow(sizeof kNone));
  std::uint64_t result = loan.scratch().device;
  STRATA_TRY(STRATA_CUDA(driver_, cuMemsetD8Async, result, 0xFF, sizeof kNone, stream));
  loan.set_in_flight();
  std::uint64_t left = a.address;
  std::uint64_t right = b.address;
  std::uint64_t bytes = a.bytes;
  void* parameters[] = {&left, &right, &bytes, &result};
  STRATA_TRY(launch(find_difference_, blocks_for(bytes), kThreads, parameters, stream));
  STRATA_TRY(fetch(loan, result, sizeof kNone, stream, deadline));
  std::uint64_t first = kNone;
  std::memcpy(&first, loan.scratch().host, sizeof first);
  if (first == kNone) return std::nullopt;
  return first;
}

Result<std::vector<std::uint64_t>> Kernels::block_checksums(const DeviceSpan& bytes,
                                                            std::uint64_t block_bytes,
                                                            CuStream stream, Deadline deadline) {
  if (block_bytes < kLeastBlockBytes || block_bytes % 8 != 0) {
    return fail(Code::invalid_argument,
                fmt::format("checksums of blocks of {} bytes: a multiple of 8 is needed, of {} or "
                            "more",
                            block_bytes, kLeastBlockBytes));
  }
  STRATA_TRY(check_address(bytes));
  STRATA_ASSIGN(const ContextScope scope, device_.enter());
  // xxhash hashes few bytes in other ways: the host does.
  const std::uint64_t last_bytes = bytes.bytes % block_bytes;
  const bool is_last_short = last_bytes != 0 && last_bytes < kernels::kLeastBytes;
  DeviceSpan long_blocks = bytes;
  if (is_last_short) long_blocks.bytes -= last_bytes;
  STRATA_ASSIGN(const std::vector<Halves> halves,
                hash_blocks(long_blocks, block_bytes, stream, deadline));
  std::vector<std::uint64_t> checksums;
  for (const Halves& half : halves)
    checksums.push_back(half.low);
  if (is_last_short) {
    STRATA_ASSIGN(const std::vector<std::byte> last,
                  to_host(bytes.address + long_blocks.bytes, last_bytes, stream, deadline));
    checksums.push_back(hash_long(last));
  }
  return checksums;
}

Result<ContentHash> Kernels::content_hash(const DeviceSpan& bytes, CuStream stream,
                                          Deadline deadline) {
  STRATA_TRY(check_address(bytes));
  STRATA_ASSIGN(const ContextScope scope, device_.enter());
  if (bytes.bytes < kernels::kLeastBytes) {
    STRATA_ASSIGN(const std::vector<std::byte> all,
                  to_host(bytes.address, bytes.bytes, stream, deadline));
    return strata::content_hash(all);
  }
  const std::uint64_t one_block = (bytes.bytes + 7) / 8 * 8;
  STRATA_ASSIGN(const std::vector<Halves> halves, hash_blocks(bytes, one_block, stream, deadline));
  return canonical(halves.front().low, halves.front().high);
}

// In the device's context.
Result<std::vector<Kernels::Halves>> Kernels::hash_blocks(const DeviceSpan& bytes,
                                                          std::uint64_t block_bytes,
                                                          CuStream stream, Deadline deadline) {
  std::vector<Halves> halves((bytes.bytes + block_bytes - 1) / block_bytes);
  if (halves.empty()) return halves;
  const std::uint64_t result_bytes = halves.size() * sizeof(Halves);
  STRATA_ASSIGN(Loan loan, borrow(result_bytes));
  std::uint64_t address = bytes.address;
  std::uint64_t size = bytes.bytes;
  std::uint64_t result = loan.scratch().device;
  void* parameters[] = {&address, &size, &block_bytes, &result};
  const auto blocks = static_cast<unsigned>(std::min<std::uint64_t>(halves.size(), kMostBlocks));
  STRATA_TRY(launch(hash_blocks_, blocks, kernels::kHashThreads, parameters, stream));
  loan.set_in_flight();
  STRATA_TRY(fetch(loan, result, result_bytes, stream, deadline));
  std::memcpy(halves.data(), loan.scratch().host, result_bytes);
  return halves;
}

// In the device's context.
Result<std::vector<std::byte>> Kernels::to_host(std::uint64_t address, std::uint64_t bytes,
                                                CuStream stream, Deadline deadline) {
  std::vector<std::byte> copy(bytes);
  if (bytes == 0) return copy;
  STRATA_ASSIGN(Loan loan, borrow(bytes));
  STRATA_TRY(fetch(loan, address, bytes, stream, deadline));
  std::memcpy(copy.data(), loan.scratch().host, bytes);
  return copy;
}

Result<void> Kernels::fetch(Loan& loan, CuDevicePointer from, std::uint64_t bytes, CuStream stream,
                            Deadline deadline) {
  Scratch& scratch = loan.scratch();
  STRATA_TRY(STRATA_CUDA(driver_, cuMemcpyDtoHAsync, scratch.host, from, bytes, stream));
  loan.set_in_flight();
  STRATA_TRY(scratch.landed.record(stream));
  loan.set_marked();
  STRATA_TRY(scratch.landed.wait(deadline));
  loan.set_landed();
  return {};
}

Result<Kernels::Loan> Kernels::borrow(std::uint64_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(idle_.begin(), idle_.end(),
                                    [&](const Scratch& scratch) { return scratch.bytes >= bytes; });
    if (found != idle_.end()) {
      Loan loan(*this, std::move(*found));
      idle_.erase(found);
      return loan;
    }
  }
  STRATA_ASSIGN(Scratch made, make_scratch(std::max(bytes, kLeastScratchBytes)));
  return Loan(*this, std::move(made));
}

Result<Kernels::Scratch> Kernels::make_scratch(std::uint64_t bytes) {
  STRATA_ASSIGN(DeviceEvent landed, DeviceEvent::create(device_));
  (void)retry_leftovers();
  Scratch made{.bytes = bytes, .landed = std::move(landed)};
  STRATA_TRY(STRATA_CUDA(driver_, cuMemAlloc, &made.device, made.bytes));
  auto pinned = STRATA_CUDA(driver_, cuMemHostAlloc, &made.host, made.bytes, 0);
  if (!pinned) {
    give_up(std::move(made));
    return unexpected(pinned.error());
  }
  return made;
}

void Kernels::give_back(Scratch scratch) {
  // One for each thread that uses them; more would only be kept.
  constexpr std::size_t kMostIdle = 8;
  const std::lock_guard lock(mutex_);
  if (idle_.size() < kMostIdle) {
    idle_.push_back(std::move(scratch));
  } else {
    give_up(std::move(scratch));
  }
}

void Kernels::give_up(Scratch scratch) {
  const std::uint64_t bytes = 2 * scratch.bytes;
  give_back_or_keep(driver_, bytes, [this, kept = std::make_shared<Scratch>(std::move(scratch))] {
    return free(*kept);
  });
}

bool Kernels::free(Scratch& scratch) {
  const auto scope = device_.enter();
  if (!scope) return scope.error().driver_result() == kDeinitialized;
  const DriverTable& call = driver_.call();
  if (scratch.host && is_given_back(call.cuMemFreeHost(scratch.host))) scratch.host = nullptr;
  if (scratch.device != 0 && is_given_back(call.cuMemFree(scratch.device))) scratch.device = 0;
  return !scratch.host && scratch.device == 0;
}

}  // namespace strata::inline v0_1::cuda

#include "tests/gpu/cuda_operations.h"

#include <sys/socket.h>

#include <cstdio>

#include "strata/segment/catalog.h"
#include "tests/conformance/borrowed_backend.h"

namespace strata::inline v0_1::test {
namespace {

std::unique_ptr<Keeper> nothing(CudaWorld&) { return nullptr; }

void must_keep(const Keeper& keeper) {
  if (keeper.failure().empty()) return;
  std::fprintf(stderr, "cannot prepare the target: %s\n", keeper.failure().c_str());
  std::abort();
}

std::function<std::unique_ptr<Keeper>(CudaWorld&)> kept(
    DeviceMechanism mechanism = DeviceMechanism::automatic, Access stays = Access::read_write) {
  return [=](CudaWorld& world) {
    CreateOptions options = device_segment();
    options.device.mechanism = mechanism;
    auto keeper = world.keep_new(kTarget, options, stays);
    must_keep(*keeper);
    return keeper;
  };
}

// The header of a segment whose memory went with its only process.
std::unique_ptr<Keeper> remains(CudaWorld& world) {
  const auto keeper = world.keep_new(kTarget, device_segment());
  must_keep(*keeper);
  keeper->kill();
  return nullptr;
}

template <typename T>
Result<void> drop(Result<T> result) {
  if (!result) return unexpected(result.error());
  return {};
}

Result<void> create_by(Backend& backend, DeviceMechanism mechanism) {
  CreateOptions options = device_segment(Publish::by_creator);
  options.device.mechanism = mechanism;
  return drop(create_filled(backend, kTarget, options));
}

Result<void> create_all_of_it(Backend& backend) {
  CreateOptions options = device_segment(Publish::by_creator);
  options.device.is_filled_by_creator = true;
  return drop(create_filled(backend, kTarget, options));
}

Result<void> attach_and_use(Backend& backend) {
  STRATA_ASSIGN(Segment segment, backend.attach(kTarget, {}));
  std::vector<std::byte> bytes(kTestBytes);
  STRATA_TRY(segment.read(0, bytes));
  STRATA_TRY(segment.write(0, pattern(kTestBytes)));
  return segment.settle();
}

// Also where an earlier try has sealed it and failed later.
Result<void> seal(Backend& backend) {
  STRATA_ASSIGN(const SegmentStat facts, backend.stat(kTarget));
  const bool is_sealed = facts.state == SegmentState::sealed;
  const Access access = is_sealed ? Access::read_only : Access::read_write;
  STRATA_ASSIGN(Segment segment, backend.attach(kTarget, {.access = access}));
  STRATA_TRY(segment.seal());
  return segment.verify();
}

Result<void> hand_over(Backend& backend) {
  STRATA_ASSIGN(Segment segment, create_filled(backend, kTarget, device_segment()));
  Catalog catalog = catalog_of(backend);
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0) {
    return fail(Code::exhausted, "no socket pair");
  }
  const Fd left(ends[0]);
  const Fd right(ends[1]);
  STRATA_TRY(catalog.send(segment, left.get(), Deadline::after_ms(60'000)));
  return drop(catalog.receive(right.get(), {}, Deadline::after_ms(60'000)));
}

}  // namespace

std::vector<CudaOperation> cuda_operations() {
  const std::vector<Code> unfinished = {Code::not_found, Code::not_ready};
  // The memory ends with the process, and its header does not.
  const std::vector<Code> unfinished_or_gone = {Code::not_found, Code::not_ready,
                                                Code::failed_precondition};
  const auto remove_by_force = [](Backend& backend) {
    return backend.remove(kTarget, {.even_if_attached = true});
  };
  const auto remove = [](Backend& backend) { return backend.remove(kTarget, {}); };
  const auto gc = [](Backend& backend) { return drop(backend.reclaim({}, {})); };
  return {
      {"create", nothing,
       [](Backend& backend) { return create_by(backend, DeviceMechanism::automatic); }, unfinished},
      {"create, all of it filled", nothing, create_all_of_it, unfinished},
      {"create over an orphan", remains,
       [](Backend& backend) { return create_by(backend, DeviceMechanism::automatic); }, unfinished},
      {"create by CUDA IPC", nothing,
       [](Backend& backend) { return create_by(backend, DeviceMechanism::legacy_ipc); },
       unfinished_or_gone},
      {"attach, read and write", kept(), attach_and_use, {}},
      {"attach by CUDA IPC", kept(DeviceMechanism::legacy_ipc), attach_and_use, {}},
      {"seal and verify",
       kept(DeviceMechanism::automatic, Access::read_only),
       seal,
       {Code::failed_precondition}},
      {"hand over", nothing, hand_over, unfinished},
      {"remove by force", kept(), remove_by_force, {Code::not_found}, false},
      {"remove", remains, remove, {Code::not_found}, false},
      {"gc", remains, gc, {Code::not_found}, false},
  };
}

}  // namespace strata::inline v0_1::test

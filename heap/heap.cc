#include "strata/heap/heap.h"

#include <fmt/format.h>

#include "heap/heap_core.h"
#include "segment/attachment.h"

namespace strata::inline v0_1 {

namespace {

// The payload of a Segment, whose attachment it holds.
class SegmentMemory final : public HeapMemory {
 public:
  SegmentMemory(Segment segment, std::byte* base, const Owner* owner)
      : segment_(std::move(segment)), base_(base), owner_(owner) {}

  std::byte* base() const override { return base_; }
  std::uint64_t bytes() const override { return segment_.payload_bytes(); }
  std::uint64_t max_bytes() const override { return segment_.max_bytes(); }
  const Owner* owner() const override { return owner_; }
  std::uint64_t generation() const override {
    return segment_.generation().load(std::memory_order_acquire);
  }
  Durability& durability() const override { return segment_.durability(); }
  Os& os() const override { return attachment_of(segment_).plane->os(); }
  Result<std::uint64_t> refresh() override { return segment_.refresh(); }
  Result<void> grow(std::uint64_t bytes, Deadline deadline) override {
    return segment_.grow(bytes, deadline);
  }

 private:
  Segment segment_;
  std::byte* base_;
  const Owner* owner_;
};

Result<std::unique_ptr<HeapMemory>> memory_of(Segment& segment) {
  STRATA_TRY(segment.capabilities().require(Capability::heap));
  STRATA_ASSIGN(const auto bytes, segment.host_bytes());
  const Owner* owner = nullptr;
  // A private copy takes no part: others do not see what it does.
  if (segment.access() == Access::read_write) {
    STRATA_ASSIGN(owner, segment.participant());
  }
  return std::make_unique<SegmentMemory>(segment.share(), const_cast<std::byte*>(bytes.data()),
                                         owner);
}

std::string context_of(const char* what, const Segment& segment) {
  return fmt::format("{} heap in {}", what, segment.uri().to_string());
}

}  // namespace

Result<Heap> Heap::create(Segment& segment, const HeapOptions& options) {
  auto memory = memory_of(segment);
  if (!memory) return unexpected(memory.error().in(context_of("create", segment)));
  auto heap = create(std::move(*memory), options);
  if (!heap) return unexpected(heap.error().in(context_of("create", segment)));
  return heap;
}

Result<Heap> Heap::open(Segment& segment) {
  auto memory = memory_of(segment);
  if (!memory) return unexpected(memory.error().in(context_of("open", segment)));
  auto heap = open(std::move(*memory));
  if (!heap) return unexpected(heap.error().in(context_of("open", segment)));
  return heap;
}

Result<Heap> Heap::create(std::unique_ptr<HeapMemory> memory, const HeapOptions& options) {
  STRATA_ASSIGN(auto core, HeapCore::create(std::move(memory), options));
  return Heap(std::move(core));
}

Result<Heap> Heap::open(std::unique_ptr<HeapMemory> memory) {
  STRATA_ASSIGN(auto core, HeapCore::open(std::move(memory)));
  return Heap(std::move(core));
}

Heap::Heap(std::shared_ptr<HeapCore> core) : core_(std::move(core)), base_(core_->base()) {}
Heap::Heap(Heap&&) noexcept = default;
Heap& Heap::operator=(Heap&&) noexcept = default;
Heap::~Heap() = default;

Heap::Draft::~Draft() {
  if (core_ != nullptr) (void)core_->discard_object(object_);
}

Result<Offset<std::byte>> Heap::allocate(std::uint64_t bytes, std::uint64_t align) {
  return core_->allocate(bytes, align);
}

Result<void> Heap::free(Offset<std::byte> block) { return core_->free(block.bytes); }

Result<std::uint64_t> Heap::usable_bytes(Offset<std::byte> block) const {
  return core_->usable_bytes(block.bytes);
}

Result<void> Heap::allocate_to(Offset<std::byte>& destination, std::uint64_t bytes,
                               std::uint64_t align) {
  return core_->allocate_to(reinterpret_cast<HeapCore::Word&>(destination), bytes, align);
}

Result<void> Heap::free_from(Offset<std::byte>& source) {
  return core_->free_from(reinterpret_cast<HeapCore::Word&>(source));
}

std::byte* Heap::at(std::uint64_t offset_bytes, std::uint64_t bytes) const {
  return core_->at(offset_bytes, bytes);
}

Result<Heap::Draft> Heap::begin_object(std::string_view name, const TypeTag& type) {
  STRATA_ASSIGN(const ObjectInHand object, core_->begin_object(name, type));
  return Draft(core_, object);
}

Result<void> Heap::publish(Draft& draft) {
  if (draft.core_ != core_) {
    return fail(Code::failed_precondition, draft.core_ ? "publish: the draft is of another heap"
                                                       : "publish: the draft was published before");
  }
  STRATA_TRY(core_->publish_object(draft.object_));
  draft.core_ = nullptr;
  return {};
}

Result<void*> Heap::find(std::string_view name, const TypeTag& type) const {
  return core_->find_object(name, type);
}

Result<Heap::Draft> Heap::withdraw(std::string_view name, const TypeTag& type) {
  STRATA_ASSIGN(const ObjectInHand object, core_->withdraw_object(name, &type));
  return Draft(core_, object);
}

Result<void> Heap::discard(Draft& draft) {
  draft.core_ = nullptr;
  return core_->discard_object(draft.object_);
}

Result<ObjectInfo> Heap::stat(std::string_view name) const { return core_->stat_object(name); }

Result<void> Heap::remove(std::string_view name) {
  STRATA_ASSIGN(const ObjectInHand object, core_->withdraw_object(name, nullptr));
  return core_->discard_object(object);
}

Result<void> Heap::remove(std::string_view name, const TypeTag& type) {
  STRATA_ASSIGN(const ObjectInHand object, core_->withdraw_object(name, &type));
  return core_->discard_object(object);
}

std::uint64_t Heap::name_count() const { return core_->header().names.live.load(); }

Result<RecoveryReport> Heap::recover() { return core_->recover(); }
Result<HeapReport> Heap::check() const { return core_->check(); }
Result<HeapUsage> Heap::inspect() const { return core_->inspect(); }
Result<std::vector<ObjectInfo>> Heap::objects() const { return core_->objects(); }
Result<std::vector<BlockInfo>> Heap::blocks() const { return core_->blocks(); }
void Heap::release_thread_cache() { core_->release_thread_cache(); }

Offset<std::byte>* Heap::root(unsigned index) {
  auto& roots = core_->header().roots;
  if (index >= roots.size() || core_->sync() == nullptr) return nullptr;
  return reinterpret_cast<Offset<std::byte>*>(&roots[index]);
}

BlockActions& Heap::block_actions() { return *core_; }

}  // namespace strata::inline v0_1

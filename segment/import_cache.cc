#include "strata/segment/import_cache.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <list>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "segment/backend.h"

namespace strata::inline v0_1 {
namespace {

// What a caller asks for. `what` is a URI, or the uuid and generation of a handle.
struct Question {
  std::string_view what;
  Access access;
  std::string_view device;
  bool operator==(const Question&) const = default;
};

struct StoredQuestion {
  explicit StoredQuestion(const Question& question)
      : what(question.what), access(question.access), device(question.device) {}
  Question view() const { return {what, access, device}; }
  std::string what;
  Access access;
  std::string device;
};

struct HashQuestion {
  using is_transparent = void;
  std::size_t operator()(const Question& question) const {
    const std::hash<std::string_view> hash;
    return hash(question.what) ^ (hash(question.device) << 2) ^
           static_cast<std::size_t>(question.access);
  }
  std::size_t operator()(const StoredQuestion& question) const { return (*this)(question.view()); }
};

struct EqualQuestions {
  using is_transparent = void;
  template <typename A, typename B>
  bool operator()(const A& a, const B& b) const {
    return view(a) == view(b);
  }
  static Question view(const Question& question) { return question; }
  static Question view(const StoredQuestion& question) { return question.view(); }
};

// What an entry is.
struct EntryKey {
  std::array<std::uint8_t, 16> uuid{};
  std::uint64_t generation = 0;
  std::array<std::uint8_t, 16> device_uuid{};
  Access access = Access::read_write;
  bool operator==(const EntryKey&) const = default;
};

EntryKey key_of(const Segment& segment, Access access) {
  EntryKey key{.uuid = segment.identity().uuid,
               .generation = segment.generation().load(std::memory_order_acquire),
               .access = access};
  if (const auto device = segment.device_bytes()) key.device_uuid = device->device_uuid;
  return key;
}

// Begins as no URI does. Whoever was granted less must not find what others were granted.
using HandleText = std::array<char, 32>;
HandleText text_of(const Handle& handle) {
  HandleText text{};
  std::memcpy(text.data() + 1, handle.uuid.data(), handle.uuid.size());
  std::memcpy(text.data() + 17, &handle.generation, sizeof handle.generation);
  std::memcpy(text.data() + 25, &handle.access, sizeof handle.access);
  return text;
}
static_assert(sizeof(Handle::uuid) == 16 && sizeof(Access) == 4);

}  // namespace

// One attachment. All but `segment` and `key` are of the Core's lock.
struct CachedSegment::Entry {
  Segment segment;
  EntryKey key;
  std::uint64_t bytes = 0;
  std::uint64_t users = 0;
  bool is_kept = true;  // by the cache; else it ends with its last user
  bool is_wanted_back = false;
  std::list<std::shared_ptr<Entry>>::iterator place = {};
};

struct CachedSegment::Core {
  using Entries = std::list<std::shared_ptr<Entry>>;  // what was used last in front

  Core(Catalog& catalog, ImportCacheOptions options)
      : catalog(catalog), options(std::move(options)) {}

  // All of these with the lock. What they let go of they leave to the caller, who destroys it
  // without the lock: the end of an attachment may take long, and may call back.
  bool is_stale(const Entry& entry) const {
    return entry.segment.state() == SegmentState::retired ||
           entry.segment.generation().load(std::memory_order_acquire) != entry.key.generation;
  }
  bool must_go_when_idle(const Entry& entry) const {
    return entry.is_wanted_back || is_stale(entry) ||
           (options.is_wanted_back && options.is_wanted_back(entry.segment));
  }
  void let_go(std::shared_ptr<Entry> entry, Entries& gone) {
    std::erase_if(questions, [&](const auto& each) { return each.second == entry.get(); });
    bytes -= entry->bytes;
    entry->is_kept = false;
    gone.splice(gone.end(), entries, entry->place);
  }
  void trim(Entries& gone) {
    for (auto at = entries.end(); bytes > options.limit_bytes && at != entries.begin();) {
      const std::shared_ptr<Entry> entry = *--at;
      if (entry->users != 0) continue;
      ++at;
      let_go(entry, gone);
    }
  }
  std::shared_ptr<Entry> use(Entry& entry) {
    ++entry.users;
    entries.splice(entries.begin(), entries, entry.place);
    return *entry.place;
  }
  // Null where it is not there, or may not be used any more.
  std::shared_ptr<Entry> find(const Question& question, Entries& gone) {
    const auto found = questions.find(question);
    if (found == questions.end()) return nullptr;
    Entry& entry = *found->second;
    if (!is_stale(entry) && (entry.users != 0 || !must_go_when_idle(entry))) return use(entry);
    let_go(*entry.place, gone);
    return nullptr;
  }
  std::shared_ptr<Entry> add(const Question& question, Segment segment, Entries& gone) {
    const EntryKey key = key_of(segment, question.access);
    // By another name, or another way to write it, it may be there already.
    for (const auto& entry : entries) {
      if (!(entry->key == key) || is_stale(*entry)) continue;
      questions.insert_or_assign(StoredQuestion(question), entry.get());
      auto extra = std::make_shared<Entry>(Entry{std::move(segment), key});
      gone.push_back(std::move(extra));
      return use(*entry);
    }
    const std::uint64_t size =
        options.bytes_of ? options.bytes_of(segment) : segment.payload_bytes();
    auto entry = std::make_shared<Entry>(Entry{std::move(segment), key, size, 1});
    entries.push_front(entry);
    entry->place = entries.begin();
    questions.insert_or_assign(StoredQuestion(question), entry.get());
    bytes += size;
    trim(gone);
    return entry;
  }

  template <typename Attach>
  Result<CachedSegment> open(const std::shared_ptr<Core>& self, const Question& question,
                             const AttachOptions& attach_options, Attach attach);

  Catalog& catalog;
  const ImportCacheOptions options;
  std::mutex mutex;  // of what follows
  std::condition_variable attached;
  Entries entries;
  std::unordered_map<StoredQuestion, Entry*, HashQuestion, EqualQuestions> questions;
  std::vector<Question> being_attached;  // by threads that wait for it
  std::uint64_t bytes = 0;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
};

template <typename Attach>
Result<CachedSegment> CachedSegment::Core::open(const std::shared_ptr<Core>& self,
                                                const Question& question,
                                                const AttachOptions& attach_options,
                                                Attach attach) {
  Entries gone;  // ends after the lock
  std::unique_lock lock(mutex);
  if (auto entry = find(question, gone)) {
    ++hits;
    return CachedSegment(self, std::move(entry));
  }
  // One attachment is enough, however many threads ask.
  const auto is_free = [&] {
    return std::ranges::find(being_attached, question) == being_attached.end();
  };
  const std::chrono::milliseconds patience(attach_options.timeout_ms);
  while (!is_free()) {
    if (!attached.wait_for(lock, patience, is_free))
      return fail(Code::timed_out, "another thread of this process is attaching it");
    if (auto entry = find(question, gone)) {
      ++hits;
      return CachedSegment(self, std::move(entry));
    }
  }
  ++misses;
  being_attached.push_back(question);
  lock.unlock();
  Result<Segment> segment = attach();
  lock.lock();
  being_attached.erase(std::ranges::find(being_attached, question));
  attached.notify_all();
  if (!segment) return unexpected(segment.error());
  return CachedSegment(self, add(question, *std::move(segment), gone));
}

CachedSegment& CachedSegment::operator=(CachedSegment&& other) noexcept {
  close();
  core_ = std::move(other.core_);
  entry_ = std::move(other.entry_);
  return *this;
}

Segment& CachedSegment::operator*() const { return entry_->segment; }

void CachedSegment::close() {
  if (!entry_) return;
  Core::Entries gone;
  {
    const std::lock_guard lock(core_->mutex);
    --entry_->users;
    if (entry_->users == 0 && entry_->is_kept) {
      if (core_->must_go_when_idle(*entry_)) core_->let_go(entry_, gone);
      core_->trim(gone);
    }
  }
  entry_.reset();
  gone.clear();
  core_.reset();
}

ImportCache::ImportCache(Catalog& catalog, ImportCacheOptions options)
    : core_(std::make_shared<CachedSegment::Core>(catalog, std::move(options))) {}

ImportCache::~ImportCache() {
  CachedSegment::Core::Entries gone;
  const std::lock_guard lock(core_->mutex);
  while (!core_->entries.empty())
    core_->let_go(core_->entries.front(), gone);
}

Result<CachedSegment> ImportCache::open(std::string_view uri, const AttachOptions& options) {
  const Question question{uri, options.access, options.device};
  return core_->open(core_, question, options, [&] { return core_->catalog.attach(uri, options); });
}

Result<CachedSegment> ImportCache::open(const Handle& handle, std::vector<Fd> descriptors,
                                        const AttachOptions& options) {
  const HandleText text = text_of(handle);
  const Question question{{text.data(), text.size()}, options.access, options.device};
  return core_->open(core_, question, options, [&]() -> Result<Segment> {
    STRATA_ASSIGN(Backend* const backend, core_->catalog.backend(kind_name(handle.kind)));
    return backend->attach_handle(handle, std::move(descriptors), options);
  });
}

void ImportCache::sweep() {
  using Entries = CachedSegment::Core::Entries;
  Entries gone;
  std::vector<std::shared_ptr<CachedSegment::Entry>> left;
  {
    const std::lock_guard lock(core_->mutex);
    left.assign(core_->entries.begin(), core_->entries.end());
    for (const auto& entry : left)
      if (entry->users == 0 && core_->must_go_when_idle(*entry)) core_->let_go(entry, gone);
  }
  for (const auto& entry : left) {
    if (entry->segment.uri().name.empty()) continue;
    const auto stat = core_->catalog.stat(entry->segment.uri().to_string());
    const bool is_another = stat ? !stat->problem && stat->identity.uuid != entry->key.uuid
                                 : stat.error().code() == Code::not_found;
    const std::lock_guard lock(core_->mutex);
    if (is_another && entry->is_kept) core_->let_go(entry, gone);
  }
}

void ImportCache::give_back(const std::array<std::uint8_t, 16>& uuid) {
  CachedSegment::Core::Entries gone;
  const std::lock_guard lock(core_->mutex);
  for (const auto& entry : CachedSegment::Core::Entries(core_->entries)) {
    if (entry->key.uuid != uuid) continue;
    entry->is_wanted_back = true;
    if (entry->users == 0) core_->let_go(entry, gone);
  }
}

void ImportCache::clear() {
  CachedSegment::Core::Entries gone;
  const std::lock_guard lock(core_->mutex);
  for (const auto& entry : CachedSegment::Core::Entries(core_->entries))
    if (entry->users == 0) core_->let_go(entry, gone);
}

ImportCacheStats ImportCache::stats() const {
  const std::lock_guard lock(core_->mutex);
  ImportCacheStats stats{.hits = core_->hits,
                         .misses = core_->misses,
                         .entries = core_->entries.size(),
                         .bytes = core_->bytes};
  for (const auto& entry : core_->entries)
    if (entry->users != 0) ++stats.entries_in_use;
  return stats;
}

}  // namespace strata::inline v0_1

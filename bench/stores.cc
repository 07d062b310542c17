#include "bench/stores.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <mutex>

namespace strata::inline v0_1 {
namespace {

[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "{}\n", why);
  std::exit(1);
}

class Library {
 public:
  explicit Library(const char* file) : handle_(dlopen(file, RTLD_NOW)) {}
  explicit operator bool() const { return handle_ != nullptr; }
  template <typename Function>
  void get(Function*& function, const char* name) const {
    function = reinterpret_cast<Function*>(dlsym(handle_, name));
    if (function == nullptr) give_up(fmt::format("no {} in this library", name));
  }

 private:
  void* handle_;  // stays loaded
};

std::uint64_t number_in(const void* data, std::size_t bytes) {
  std::uint64_t number = 0;
  if (bytes == sizeof number) std::memcpy(&number, data, sizeof number);
  return number;
}

// LMDB 0.9, lmdb.h.
struct Lmdb {
  struct Value {
    std::size_t bytes;
    const void* data;
  };
  int (*env_create)(void**);
  int (*env_set_mapsize)(void*, std::size_t);
  int (*env_open)(void*, const char*, unsigned, unsigned);
  int (*txn_begin)(void*, void*, unsigned, void**);
  int (*txn_commit)(void*);
  int (*dbi_open)(void*, const char*, unsigned, unsigned*);
  int (*get)(void*, unsigned, Value*, Value*);
  int (*put)(void*, unsigned, Value*, Value*, unsigned);
  void (*env_close)(void*);
  char* (*strerror)(int);

  explicit Lmdb(const Library& library) {
    library.get(env_create, "mdb_env_create");
    library.get(env_set_mapsize, "mdb_env_set_mapsize");
    library.get(env_open, "mdb_env_open");
    library.get(txn_begin, "mdb_txn_begin");
    library.get(txn_commit, "mdb_txn_commit");
    library.get(dbi_open, "mdb_dbi_open");
    library.get(get, "mdb_get");
    library.get(put, "mdb_put");
    library.get(env_close, "mdb_env_close");
    library.get(strerror, "mdb_strerror");
  }
  void need(int rc) const {
    if (rc != 0) give_up(fmt::format("LMDB: {}", strerror(rc)));
  }
};

class LmdbStore final : public Store {
 public:
  LmdbStore(const Library& library, const std::string& folder) : lmdb_(library) {
    lmdb_.need(lmdb_.env_create(&env_));
    lmdb_.need(lmdb_.env_set_mapsize(env_, std::size_t{1} << 30));
    lmdb_.need(lmdb_.env_open(env_, folder.c_str(), 0, 0600));
    void* tx = nullptr;
    lmdb_.need(lmdb_.txn_begin(env_, nullptr, 0, &tx));
    lmdb_.need(lmdb_.dbi_open(tx, nullptr, 0, &table_));
    lmdb_.need(lmdb_.txn_commit(tx));
  }
  ~LmdbStore() override { lmdb_.env_close(env_); }
  std::unique_ptr<StoreSession> session() override { return std::make_unique<Session>(*this); }

 private:
  static constexpr int kNotFound = -30798;

  class Session final : public StoreSession {
   public:
    explicit Session(LmdbStore& store) : store_(store) {}
    void add_one(std::string_view key) override { change(key, 1); }
    std::uint64_t number(std::string_view key) override { return change(key, 0); }

   private:
    std::uint64_t change(std::string_view key, std::uint64_t by) {
      const Lmdb& lmdb = store_.lmdb_;
      void* tx = nullptr;
      lmdb.need(lmdb.txn_begin(store_.env_, nullptr, 0, &tx));
      Lmdb::Value name{key.size(), key.data()}, value{0, nullptr};
      const int got = lmdb.get(tx, store_.table_, &name, &value);
      if (got != kNotFound) lmdb.need(got);
      const std::uint64_t number = (got == 0 ? number_in(value.data, value.bytes) : 0) + by;
      Lmdb::Value next{sizeof number, &number};
      if (by != 0) lmdb.need(lmdb.put(tx, store_.table_, &name, &next, 0));
      lmdb.need(lmdb.txn_commit(tx));
      return number;
    }
    LmdbStore& store_;
  };

  Lmdb lmdb_;
  void* env_ = nullptr;
  unsigned table_ = 0;
};

// SQLite 3, sqlite3.h.
struct Sqlite {
  int (*open)(const char*, void**);
  int (*close)(void*);
  int (*exec)(void*, const char*, void*, void*, char**);
  int (*prepare)(void*, const char*, int, void**, const char**);
  int (*bind_text)(void*, int, const char*, int, void (*)(void*));
  int (*step)(void*);
  int (*reset)(void*);
  int (*finalize)(void*);
  std::int64_t (*column_int64)(void*, int);
  int (*busy_timeout)(void*, int);
  const char* (*errmsg)(void*);

  explicit Sqlite(const Library& library) {
    library.get(open, "sqlite3_open");
    library.get(close, "sqlite3_close");
    library.get(exec, "sqlite3_exec");
    library.get(prepare, "sqlite3_prepare_v2");
    library.get(bind_text, "sqlite3_bind_text");
    library.get(step, "sqlite3_step");
    library.get(reset, "sqlite3_reset");
    library.get(finalize, "sqlite3_finalize");
    library.get(column_int64, "sqlite3_column_int64");
    library.get(busy_timeout, "sqlite3_busy_timeout");
    library.get(errmsg, "sqlite3_errmsg");
  }
};

class SqliteStore final : public Store {
 public:
  SqliteStore(const Library& library, const std::string& folder)
      : sqlite_(library), path_(folder + "/store.sqlite") {
    Session(*this).run("CREATE TABLE numbers(key TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID");
  }
  std::unique_ptr<StoreSession> session() override { return std::make_unique<Session>(*this); }

 private:
  class Session final : public StoreSession {
   public:
    explicit Session(SqliteStore& store) : sqlite_(store.sqlite_) {
      need(sqlite_.open(store.path_.c_str(), &db_) == 0);
      need(sqlite_.busy_timeout(db_, 60'000) == 0);
      run("PRAGMA journal_mode=WAL");
      run("PRAGMA synchronous=FULL");
    }
    ~Session() override {
      sqlite_.finalize(add_);
      sqlite_.finalize(get_);
      sqlite_.close(db_);
    }
    void run(const char* sql) { need(sqlite_.exec(db_, sql, nullptr, nullptr, nullptr) == 0); }
    void add_one(std::string_view key) override {
      if (add_ == nullptr) {
        prepare(add_, "INSERT INTO numbers VALUES(?, 1) ON CONFLICT DO UPDATE SET number=number+1");
      }
      bind(add_, key);
      need(sqlite_.step(add_) == kDone);
      need(sqlite_.reset(add_) == 0);
    }
    std::uint64_t number(std::string_view key) override {
      if (get_ == nullptr) prepare(get_, "SELECT number FROM numbers WHERE key=?");
      bind(get_, key);
      const bool is_there = sqlite_.step(get_) == kRow;
      const auto number = is_there ? static_cast<std::uint64_t>(sqlite_.column_int64(get_, 0)) : 0;
      need(sqlite_.reset(get_) == 0);
      return number;
    }

   private:
    static constexpr int kRow = 100;
    static constexpr int kDone = 101;

    void need(bool is_fine) const {
      if (!is_fine) give_up(fmt::format("SQLite: {}", sqlite_.errmsg(db_)));
    }
    void prepare(void*& statement, const char* sql) {
      need(sqlite_.prepare(db_, sql, -1, &statement, nullptr) == 0);
    }
    // The text outlives the step.
    void bind(void* statement, std::string_view key) {
      need(sqlite_.bind_text(statement, 1, key.data(), static_cast<int>(key.size()), nullptr) == 0);
    }
    const Sqlite& sqlite_;
    void* db_ = nullptr;
    void* add_ = nullptr;
    void* get_ = nullptr;
  };

  Sqlite sqlite_;
  std::string path_;
};

// LevelDB 1.23, leveldb/c.h.
struct LevelDb {
  void* (*options_create)();
  void (*options_set_create_if_missing)(void*, unsigned char);
  void* (*writeoptions_create)();
  void (*writeoptions_set_sync)(void*, unsigned char);
  void* (*readoptions_create)();
  void* (*open)(const void*, const char*, char**);
  void (*close)(void*);
  void (*put)(void*, const void*, const char*, std::size_t, const char*, std::size_t, char**);
  char* (*get)(void*, const void*, const char*, std::size_t, std::size_t*, char**);
  void (*free)(void*);

  explicit LevelDb(const Library& library) {
    library.get(options_create, "leveldb_options_create");
    library.get(options_set_create_if_missing, "leveldb_options_set_create_if_missing");
    library.get(writeoptions_create, "leveldb_writeoptions_create");
    library.get(writeoptions_set_sync, "leveldb_writeoptions_set_sync");
    library.get(readoptions_create, "leveldb_readoptions_create");
    library.get(open, "leveldb_open");
    library.get(close, "leveldb_close");
    library.get(put, "leveldb_put");
    library.get(get, "leveldb_get");
    library.get(free, "leveldb_free");
  }
};

class LevelDbStore final : public Store {
 public:
  LevelDbStore(const Library& library, const std::string& folder)
      : leveldb_(library),
        options_(leveldb_.options_create()),
        write_(leveldb_.writeoptions_create()),
        read_(leveldb_.readoptions_create()) {
    leveldb_.options_set_create_if_missing(options_, 1);
    leveldb_.writeoptions_set_sync(write_, 1);
    char* error = nullptr;
    db_ = leveldb_.open(options_, folder.c_str(), &error);
    need(error);
  }
  ~LevelDbStore() override {
    leveldb_.close(db_);
    for (void* const options : {options_, write_, read_})
      leveldb_.free(options);
  }
  std::unique_ptr<StoreSession> session() override { return std::make_unique<Session>(*this); }

 private:
  static void need(const char* error) {
    if (error != nullptr) give_up(fmt::format("LevelDB: {}", error));
  }

  class Session final : public StoreSession {
   public:
    explicit Session(LevelDbStore& store) : store_(store) {}
    void add_one(std::string_view key) override {
      // It has no transactions: a lock around reading and writing, which its users write as well.
      // Its own group commit does not come in then.
      const std::lock_guard lock(store_.mutex_);
      const std::uint64_t next = number(key) + 1;
      char* error = nullptr;
      store_.leveldb_.put(store_.db_, store_.write_, key.data(), key.size(),
                          reinterpret_cast<const char*>(&next), sizeof next, &error);
      need(error);
    }
    std::uint64_t number(std::string_view key) override {
      std::size_t bytes = 0;
      char* error = nullptr;
      char* const data =
          store_.leveldb_.get(store_.db_, store_.read_, key.data(), key.size(), &bytes, &error);
      need(error);
      const std::uint64_t value = data == nullptr ? 0 : number_in(data, bytes);
      store_.leveldb_.free(data);
      return value;
    }

   private:
    LevelDbStore& store_;
  };

  LevelDb leveldb_;
  void* options_;
  void* write_;
  void* read_;
  void* db_ = nullptr;
  std::mutex mutex_;
};

template <typename T>
std::unique_ptr<Store> open_with(const char* file, const std::string& folder) {
  const Library library(file);
  if (!library) return nullptr;
  return std::make_unique<T>(library, folder);
}

}  // namespace

std::unique_ptr<Store> open_lmdb(const std::string& folder) {
  return open_with<LmdbStore>("liblmdb.so.0", folder);
}
std::unique_ptr<Store> open_sqlite(const std::string& folder) {
  return open_with<SqliteStore>("libsqlite3.so.0", folder);
}
std::unique_ptr<Store> open_leveldb(const std::string& folder) {
  return open_with<LevelDbStore>("libleveldb.so.1d", folder);
}

}  // namespace strata::inline v0_1

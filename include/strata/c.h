/* Strata in C: everything that a C99 program includes. It is valid C++ too.
 *
 *     strata_catalog* catalog = NULL;
 *     strata_segment* mesh = NULL;
 *     strata_create_options options = {.size = sizeof options, .payload_bytes = 64 << 20};
 *     if (strata_catalog_open(NULL, &catalog) != STRATA_OK ||
 *         strata_catalog_create(catalog, "shm:mesh", &options, &mesh) != STRATA_OK) {
 *       fprintf(stderr, "%s\n", strata_error_message());
 *     }
 *     strata_catalog_close(catalog);
 *     strata_segment_close(mesh);
 *
 *   Errors:   a function that can fail returns a strata_code: STRATA_OK, which is 0, or why not.
 *             strata_error_message() tells in words what failed last in this thread. On failure
 *             nothing is changed, and out arguments keep what they had. No C++ exception leaves
 *             a function. NULL where there must be something, and a handle that is none, are
 *             STRATA_INVALID_ARGUMENT with the argument's name.
 *   Lifetime: what a function makes is closed by the _close of its type, which takes NULL too.
 *             Handles are closed in any order: each holds what it needs of the others. A pointer
 *             into a segment is valid as long as one handle of that segment is open, or one of
 *             what was made from it. A closed handle is recognised as long as its memory is not
 *             used for something else: that helps to find a fault, and is no protection.
 *   Threads:  any thread may use a handle; several at once where the section says so. Close it
 *             when nobody else uses it.
 *   Options:  structs that begin with their `size`. NULL, and zeros but for `size`, ask for the
 *             defaults. A library that is older than the program refuses what it does not know.
 *             Structs that are filled in have their `size` set by the caller likewise.
 *   Waits:    `timeout_ms` 0 looks once and does not wait.
 *   ABI:      names, values and sizes stay as they are within STRATA_C_API_VERSION; structs with
 *             a `size` may get more at their end.
 */
#ifndef STRATA_C_H_
#define STRATA_C_H_

#include <stddef.h>
#include <stdint.h>

#define STRATA_C_API_VERSION 1

#ifdef __cplusplus
#define STRATA_C_API extern "C" __attribute__((visibility("default")))
#else
#define STRATA_C_API extern __attribute__((visibility("default")))
#endif

/* ---- Errors ---------------------------------------------------------------------------------- */

typedef enum strata_code {
  STRATA_OK = 0,
  STRATA_INVALID_ARGUMENT = 1,     /* the call can never succeed as written: change it */
  STRATA_NOT_FOUND = 2,            /* nothing of that name: create it, or check the spelling */
  STRATA_ALREADY_EXISTS = 3,       /* the name is taken: attach to it, or choose another */
  STRATA_PERMISSION_DENIED = 4,    /* the operating system refused: change user, mode or limit */
  STRATA_EXHAUSTED = 5,            /* memory, space, slots or a limit ran out: free or raise it */
  STRATA_NOT_READY = 6,            /* being made by somebody else: wait and retry */
  STRATA_TIMED_OUT = 7,            /* the deadline passed; nothing was changed */
  STRATA_CORRUPT = 8,              /* bytes fail their own checks: do not use them */
  STRATA_UNSUPPORTED = 9,          /* this machine or this kind of memory cannot do it */
  STRATA_FAILED_PRECONDITION = 10, /* in use, sealed, wrong state: change the state first */
  STRATA_INTERNAL = 11,            /* a fault in Strata: report it */
  STRATA_NO_DRIVER = 12,           /* no CUDA driver here */
  STRATA_NO_DEVICE = 13,           /* the driver has no such device */
  STRATA_WRONG_DEVICE = 14         /* the memory is of a device that cannot be reached */
} strata_code;

/* The version of the library, "0.1.0", and its STRATA_C_API_VERSION. */
STRATA_C_API const char* strata_version(void);
STRATA_C_API int strata_c_api_version(void);
/* "not_found"; "unknown" for what is no code. */
STRATA_C_API const char* strata_code_name(int code);
/* Of the last call that failed in this thread: its code, and what was asked, on what, and why not.
 * Calls that succeed leave them alone, as with errno. The text stays until the next failure. Before
 * the first one: STRATA_OK and "". */
STRATA_C_API int strata_error_code(void);
STRATA_C_API const char* strata_error_message(void);
/* The errno that the kernel gave, or the CUresult that the driver gave; 0 where there was none. */
STRATA_C_API int strata_error_errno(void);
STRATA_C_API int strata_error_driver_result(void);

/* ---- Handles --------------------------------------------------------------------------------- */

typedef struct strata_catalog strata_catalog;
typedef struct strata_segment strata_segment;
typedef struct strata_sync_context strata_sync_context;
typedef struct strata_spsc_producer strata_spsc_producer;
typedef struct strata_spsc_consumer strata_spsc_consumer;
typedef struct strata_mpmc_ring strata_mpmc_ring;
typedef struct strata_heap strata_heap;
typedef struct strata_draft strata_draft;
typedef struct strata_transaction strata_transaction;
typedef struct strata_pool strata_pool;
typedef struct strata_timeline strata_timeline;
typedef struct strata_signaller strata_signaller;
typedef struct strata_follower strata_follower;
typedef struct strata_pending_wait strata_pending_wait;

/* ---- The catalog: segments by name -----------------------------------------------------------
 * A URI says which: "shm:mesh", "pmem:/data/run.pool#mesh", "cuda:weights".
 *   Threads:  any, at once. */

typedef struct strata_catalog_options {
  size_t size;
  const char* shm_directory;     /* a tmpfs; NULL: /dev/shm */
  const char* huge_2m_directory; /* on a hugetlbfs of such pages; NULL: the first that is mounted */
  const char* huge_1g_directory;
  const char* const* pools; /* to list and to reclaim, besides those that this user has used */
  size_t pool_count;
  const char* cuda_directory;        /* the headers of device segments; NULL: shm_directory */
  const char* cuda_driver_library;   /* NULL: libcuda.so.1, as the loader finds it */
  const char* cuda_device_directory; /* NULL: /dev */
  /* The program and its arguments that keep a device segment when nobody else is attached. */
  const char* const* cuda_holder_command;
  size_t cuda_holder_command_count;
} strata_catalog_options;

/* Who may reclaim a segment, and when. */
typedef enum strata_lifetime {
  STRATA_LIFETIME_DEFAULT = 0,      /* until_removed; of device memory last_detach */
  STRATA_LIFETIME_PROCESS = 1,      /* when its creator exits or dies */
  STRATA_LIFETIME_LAST_DETACH = 2,  /* when nobody is attached any more */
  STRATA_LIFETIME_JOB = 3,          /* when the job that made it has ended */
  STRATA_LIFETIME_UNTIL_REMOVED = 4 /* only by remove */
} strata_lifetime;

typedef enum strata_page_size {
  STRATA_PAGE_BASE = 1,    /* 4 KiB; also where the field is 0 */
  STRATA_PAGE_THP = 2,     /* 2 MiB where the kernel grants them */
  STRATA_PAGE_HUGE_2M = 3, /* hugetlb, reserved by the administrator; no fallback */
  STRATA_PAGE_HUGE_1G = 4
} strata_page_size;

typedef enum strata_commit {
  STRATA_COMMIT_UP_FRONT = 1, /* the memory is there when create returns; also 0 */
  STRATA_COMMIT_SPARSE = 2    /* a first touch can fail with SIGBUS */
} strata_commit;

typedef enum strata_publish {
  STRATA_PUBLISH_AT_ONCE = 1,   /* also 0 */
  STRATA_PUBLISH_BY_CREATOR = 2 /* attachers wait for strata_segment_publish */
} strata_publish;

typedef enum strata_placement_kind {
  STRATA_PLACE_LOCAL = 1,      /* the node of the creating thread; also 0 */
  STRATA_PLACE_NODE = 2,       /* nodes[0], and no other */
  STRATA_PLACE_PREFERRED = 3,  /* nodes in order of preference */
  STRATA_PLACE_INTERLEAVE = 4, /* page by page over the nodes */
  STRATA_PLACE_WEIGHTED = 5,   /* weights[i] pages on nodes[i], in turn */
  STRATA_PLACE_NEAR_PCI = 6,   /* the node nearest to a PCI device */
  STRATA_PLACE_TIER = 7,       /* the nodes that are best in `tier` */
  STRATA_PLACE_SPLIT = 8       /* a contiguous part on each node */
} strata_placement_kind;

typedef enum strata_tier {
  STRATA_TIER_BANDWIDTH = 1, /* also 0 */
  STRATA_TIER_LATENCY = 2,
  STRATA_TIER_CAPACITY = 3
} strata_tier;

typedef struct strata_placement {
  size_t size;
  uint32_t kind; /* strata_placement_kind */
  uint32_t tier; /* strata_tier */
  const int* nodes;
  const uint32_t* weights; /* as many as nodes; of STRATA_PLACE_WEIGHTED alone */
  size_t node_count;
  const char* pci_address; /* "0000:3b:00.0" */
  int is_strict;           /* fail where a page lands elsewhere; otherwise it is reported */
} strata_placement;

typedef enum strata_mechanism {
  STRATA_MECHANISM_AUTOMATIC = 0,
  STRATA_MECHANISM_VMM_FD = 1,
  STRATA_MECHANISM_LEGACY_IPC = 2,
  STRATA_MECHANISM_FABRIC = 3
} strata_mechanism;

/* What a payload is, so that its name is enough to attach to an array as an array. Texts end with
 * NUL. */
#define STRATA_MAX_DIMENSIONS 16
typedef struct strata_content {
  size_t size;
  char type[64];    /* "array", "strata.Lock"; empty: plain bytes, or an array of its elements */
  char element[16]; /* as NumPy spells it: "<f8", "|u1"; empty: nothing is said of elements */
  uint32_t dimensions;
  uint64_t shape[STRATA_MAX_DIMENSIONS]; /* in C order; zeros behind the dimensions */
} strata_content;

typedef struct strata_create_options {
  size_t size;
  uint64_t payload_bytes;    /* 0: what the elements of `content` take */
  uint64_t max_bytes;        /* it can grow up to this; 0: it cannot grow */
  uint32_t lifetime;         /* strata_lifetime */
  uint32_t page_size;        /* strata_page_size */
  uint32_t commit;           /* strata_commit */
  uint32_t publish;          /* strata_publish */
  uint32_t mode;             /* permission bits of the named object; 0: 0600 */
  uint32_t device_mechanism; /* strata_mechanism */
  const char* job_id;        /* of STRATA_LIFETIME_JOB */
  const strata_placement* placement;
  const char* device;            /* number or UUID; NULL: that of the current CUDA context, or 0 */
  int is_filled_by_creator;      /* device memory: every byte is written before it is published */
  const strata_content* content; /* NULL: plain bytes */
} strata_create_options;

typedef enum strata_access {
  STRATA_READ_ONLY = 1,    /* a write faults */
  STRATA_READ_WRITE = 2,   /* also 0 */
  STRATA_COPY_ON_WRITE = 3 /* edits are private to this process */
} strata_access;

typedef struct strata_attach_options {
  size_t size;
  uint32_t access; /* strata_access */
  int populate;    /* map 2 MiB pages and fault everything in at once */
  /* How long to wait for a segment that is still being filled. 0: 1000; negative: do not wait. */
  int64_t timeout_ms;
  const char* device; /* to map device memory into; NULL: the one that it is on */
} strata_attach_options;

typedef struct strata_remove_options {
  size_t size;
  int even_if_attached; /* processes keep their memory, the name is gone */
  uint8_t uuid[16];     /* remove this very segment alone; zeros: whichever has the name */
} strata_remove_options;

STRATA_C_API int strata_catalog_open(const strata_catalog_options* options,
                                     strata_catalog** catalog);
STRATA_C_API void strata_catalog_close(strata_catalog* catalog);

STRATA_C_API int strata_catalog_create(strata_catalog* catalog, const char* uri,
                                       const strata_create_options* options,
                                       strata_segment** segment);
/* Without a name: handed to other processes by strata_catalog_send. */
STRATA_C_API int strata_catalog_create_anonymous(strata_catalog* catalog,
                                                 const strata_create_options* options,
                                                 strata_segment** segment);
STRATA_C_API int strata_catalog_attach(strata_catalog* catalog, const char* uri,
                                       const strata_attach_options* options,
                                       strata_segment** segment);

/* Puts the first content into a segment that nobody else sees yet. It returns STRATA_OK, or the
 * code of what failed; then the segment is gone again. The handle is the caller's. */
typedef int (*strata_fill)(strata_segment* segment, void* user);
/* Attaches, or creates, fills and publishes where nothing is there. Of any number of processes that
 * do this at once one creates, and the others wait for it. `fill` and `was_created` may be NULL. */
STRATA_C_API int strata_catalog_create_or_attach(strata_catalog* catalog, const char* uri,
                                                 const strata_create_options* create,
                                                 strata_fill fill, void* user,
                                                 const strata_attach_options* attach,
                                                 strata_segment** segment, int* was_created);
STRATA_C_API int strata_catalog_remove(strata_catalog* catalog, const char* uri,
                                       const strata_remove_options* options);

typedef enum strata_kind {
  STRATA_KIND_SHM = 1,
  STRATA_KIND_PMEM = 2,
  STRATA_KIND_CUDA = 3
} strata_kind;

typedef enum strata_state {
  STRATA_STATE_BLANK = 0,
  STRATA_STATE_INITIALISING = 1, /* its creator is filling it */
  STRATA_STATE_READY = 2,
  STRATA_STATE_SEALED = 3, /* content is final and hashed; nobody writes */
  STRATA_STATE_RETIRED = 4 /* being removed */
} strata_state;

/* What can be told of a segment without attaching it. Its creator wrote some of it: the texts may
 * hold any bytes but NUL. */
typedef struct strata_segment_stat {
  size_t size;
  char uri[4376];
  char job_id[132];
  int problem_code;   /* why it cannot be attached; STRATA_OK: it can */
  char problem[1024]; /* the same in words, perhaps cut */
  uint32_t kind;      /* strata_kind; 0 where there is a problem, as the next ones */
  uint32_t state;     /* strata_state */
  uint32_t lifetime;  /* strata_lifetime */
  uint8_t uuid[16];
  uint64_t payload_bytes;
  uint64_t max_bytes;
  uint64_t committed_bytes; /* memory that it really takes */
  uint64_t created_unix_ns;
  uint32_t creator_pid;
  uint32_t owner_uid;
  uint32_t mode;
  int is_attached;
  int is_attached_for_writing;
  int is_creator_alive;
} strata_segment_stat;

STRATA_C_API int strata_catalog_stat(strata_catalog* catalog, const char* uri,
                                     strata_segment_stat* stat);

/* Called with each segment, which is valid during the call. Other than 0 ends the walk. */
typedef int (*strata_segment_visitor)(const strata_segment_stat* stat, void* user);
/* Called with each place that could not be looked at ("pmem:/data/run.pool"), and why. */
typedef void (*strata_problem_visitor)(const char* where, int code, const char* message,
                                       void* user);

typedef struct strata_list_options {
  size_t size;
  const char* scheme;    /* "shm"; NULL: all */
  const char* container; /* a pool's path; NULL: all that are known */
} strata_list_options;

/* `problem` may be NULL. */
STRATA_C_API int strata_catalog_list(strata_catalog* catalog, const strata_list_options* options,
                                     strata_segment_visitor visit, strata_problem_visitor problem,
                                     void* user);

typedef enum strata_job_state {
  STRATA_JOB_UNKNOWN = 0,
  STRATA_JOB_ALIVE = 1,
  STRATA_JOB_ENDED = 2
} strata_job_state;

typedef struct strata_reclaim_options {
  size_t size;
  int dry_run;              /* decide, and remove nothing */
  const char* const* pools; /* to look at besides those that are known */
  size_t pool_count;
  /* What is known of a job, a strata_job_state; asked twice of what is removed. NULL: nothing. */
  int (*job_state)(const char* job_id, void* user);
} strata_reclaim_options;

typedef struct strata_reclaim_decision {
  size_t size;
  const char* uri; /* these texts are valid during the call */
  const char* evidence;
  uint64_t bytes;
  int is_orphan;
  int was_reclaimed;
} strata_reclaim_decision;

typedef int (*strata_reclaim_visitor)(const strata_reclaim_decision* decision, void* user);
/* Removes what is proven to be orphaned: `strata gc`. The visitors may be NULL. */
STRATA_C_API int strata_catalog_reclaim(strata_catalog* catalog,
                                        const strata_reclaim_options* options,
                                        strata_reclaim_visitor visit,
                                        strata_problem_visitor problem, void* user);

/* ---- Handing a segment to another process -----------------------------------------------------
 * Over a connected UNIX socket (SOCK_STREAM or SOCK_SEQPACKET) to a process of the same user, or of
 * root. After a failure the socket may be in the middle of a handle: close it. */

STRATA_C_API int strata_catalog_send(strata_catalog* catalog, const strata_segment* segment,
                                     int socket, uint64_t timeout_ms);
STRATA_C_API int strata_catalog_receive(strata_catalog* catalog, int socket,
                                        const strata_attach_options* options, uint64_t timeout_ms,
                                        strata_segment** segment);

/* The same by other means of transport: a handle is at most STRATA_MAX_HANDLE_BYTES; descriptors,
 * where there are any, have to travel with it. */
#define STRATA_MAX_HANDLE_BYTES 4552
#define STRATA_MAX_HANDLE_DESCRIPTORS 8

/* Writes the handle to `buffer`, and how long it is. exhausted where `capacity_bytes` is less;
 * `bytes` is set then, too. */
STRATA_C_API int strata_segment_handle(const strata_segment* segment, void* buffer,
                                       size_t capacity_bytes, size_t* bytes);
/* The descriptors that belong to it, which stay the segment's: send them, or duplicate them. */
STRATA_C_API int strata_segment_descriptors(const strata_segment* segment,
                                            int descriptors[STRATA_MAX_HANDLE_DESCRIPTORS],
                                            size_t* count);

typedef struct strata_handle_info {
  size_t size;
  uint32_t kind;   /* strata_kind */
  uint32_t access; /* strata_access: the most that the sender grants */
  uint8_t uuid[16];
  uint64_t payload_bytes;
  uint64_t max_bytes;
  uint64_t generation;
  uint32_t exporter_pid;
  uint32_t descriptor_count;
  char locator[4361]; /* where the memory is; empty where the descriptors are the memory */
} strata_handle_info;

/* Checks a handle, which comes from outside, and tells what it says. */
STRATA_C_API int strata_handle_decode(const void* handle, size_t bytes, strata_handle_info* info);
/* Attaches what a handle means. The descriptors stay the caller's. */
STRATA_C_API int strata_catalog_attach_handle(strata_catalog* catalog, const void* handle,
                                              size_t bytes, const int* descriptors,
                                              size_t descriptor_count,
                                              const strata_attach_options* options,
                                              strata_segment** segment);

/* ---- The segment ------------------------------------------------------------------------------
 * Closing the last handle of a segment, and of all that was made from it, detaches: that removes
 * nothing, unless the lifetime says so.
 *   Threads:  functions with a const segment any, at once; the others one at a time, over all
 *             handles of the segment in this process. */

typedef struct strata_segment_info {
  size_t size;
  uint32_t kind;     /* strata_kind */
  uint32_t state;    /* strata_state */
  uint32_t access;   /* strata_access */
  uint32_t lifetime; /* strata_lifetime */
  uint8_t uuid[16];
  uint64_t payload_bytes; /* at attach, or at the last refresh */
  uint64_t max_bytes;
  uint64_t page_bytes;
  uint64_t generation; /* changes when the state of locks was discarded */
} strata_segment_info;

typedef enum strata_capability {
  STRATA_CAN_HOST_BYTES = 0,
  STRATA_CAN_DEVICE_BYTES = 1,
  STRATA_CAN_GROW = 2,
  STRATA_CAN_MIGRATE = 3,
  STRATA_CAN_PLACEMENT = 4,
  STRATA_CAN_HUGE_PAGES = 5,
  STRATA_CAN_PERSIST = 6,
  STRATA_CAN_HEAP = 7,
  STRATA_CAN_COPY_ON_WRITE = 8,
  STRATA_CAN_ANONYMOUS = 9
} strata_capability;

STRATA_C_API void strata_segment_close(strata_segment* segment);
/* Another handle of the same attachment. */
STRATA_C_API int strata_segment_share(const strata_segment* segment, strata_segment** shared);
/* Valid as long as the handle. NULL, with an error, for what is no segment. */
STRATA_C_API const char* strata_segment_uri(const strata_segment* segment);
STRATA_C_API int strata_segment_get_info(const strata_segment* segment, strata_segment_info* info);
/* What the payload is, as its creator said; an array that has grown has its shape of now. Corrupt
 * where that cannot be told: the segment can be used all the same. */
STRATA_C_API int strata_segment_get_content(const strata_segment* segment, strata_content* content);
/* STRATA_OK where this kind of memory can do it; else unsupported, and the message says why. */
STRATA_C_API int strata_segment_require(const strata_segment* segment, int capability);

/* The payload itself. unsupported where the host cannot address it: then read and write. */
STRATA_C_API int strata_segment_bytes(const strata_segment* segment, const void** bytes,
                                      uint64_t* payload_bytes);
/* failed_precondition where it is attached read-only, or sealed. */
STRATA_C_API int strata_segment_writable_bytes(strata_segment* segment, void** bytes,
                                               uint64_t* payload_bytes);
/* Copies out of and into memory of every kind. What was written is seen by others at the latest
 * after settle. */
STRATA_C_API int strata_segment_read(const strata_segment* segment, uint64_t offset_bytes,
                                     void* into, uint64_t bytes);
STRATA_C_API int strata_segment_write(strata_segment* segment, uint64_t offset_bytes,
                                      const void* from, uint64_t bytes);
STRATA_C_API int strata_segment_settle(strata_segment* segment);

/* Sees growth by others; `payload_bytes`, which may be NULL, gets the new size. */
STRATA_C_API int strata_segment_refresh(strata_segment* segment, uint64_t* payload_bytes);
/* Adds memory, zero filled; addresses stay. */
STRATA_C_API int strata_segment_grow(strata_segment* segment, uint64_t new_payload_bytes,
                                     uint64_t timeout_ms);
/* Moves the pages while processes stay attached. */
STRATA_C_API int strata_segment_migrate(strata_segment* segment, const strata_placement* placement,
                                        uint64_t timeout_ms);
/* Ends STRATA_PUBLISH_BY_CREATOR. */
STRATA_C_API int strata_segment_publish(strata_segment* segment);
/* Makes the content final: hashed, and read-only for everybody and ever. */
STRATA_C_API int strata_segment_seal(strata_segment* segment, uint64_t timeout_ms);
/* Compares a sealed segment with its hash: corrupt where it differs. */
STRATA_C_API int strata_segment_verify(const strata_segment* segment);
/* Makes bytes durable. unsupported where the memory is volatile. */
STRATA_C_API int strata_segment_persist(strata_segment* segment, uint64_t offset_bytes,
                                        uint64_t bytes);

/* ---- Locks, and what else waits ---------------------------------------------------------------
 * The structs below stand in the segment's bytes, as members of the program's own structs, and are
 * the same ones as those of C++. Zeroed bytes are a free lock, a condition without waiters and an
 * event that is not set; semaphores and barriers are initialised once. They are never copied.
 *   Threads:  any, of any attached process, each process with a context of its own.
 *   Errors:   invalid_argument where the struct does not lie in the payload of the context's
 *             segment, aligned to 8 bytes; timed_out, with the holder's token; corrupt for bytes
 * that no operation makes; failed_precondition in a forked child, which opens a context anew.
 *   Death:    who dies with a lock leaves what it guards half changed. The next one gets the
 *             lock and STRATA_OWNER_DIED, repairs, and calls mark_repaired; where it unlocks
 *             without, the one after is told again. */

typedef struct strata_mutex {
  uint64_t reserved[8];
} strata_mutex;
typedef struct strata_rw_lock {
  uint64_t reserved[128];
} strata_rw_lock;
typedef struct strata_semaphore {
  uint64_t reserved[64];
} strata_semaphore;
typedef struct strata_event {
  uint64_t reserved[2];
} strata_event;
typedef struct strata_barrier {
  uint64_t reserved[128];
} strata_barrier;
typedef struct strata_condition {
  uint64_t reserved[1];
} strata_condition;

/* How a lock was got. */
typedef enum strata_acquired { STRATA_CLEAN = 0, STRATA_OWNER_DIED = 1 } strata_acquired;

/* This process as a participant of the segment, which must be attached for writing. It holds the
 * segment. Any thread may use it. */
STRATA_C_API int strata_sync_context_open(strata_segment* segment, strata_sync_context** context);
STRATA_C_API void strata_sync_context_close(strata_sync_context* context);

/* `how`: a strata_acquired. Not recursive. */
STRATA_C_API int strata_mutex_lock(strata_sync_context* context, strata_mutex* mutex,
                                   uint64_t timeout_ms, int* how);
STRATA_C_API int strata_mutex_unlock(strata_sync_context* context, strata_mutex* mutex);
STRATA_C_API int strata_mutex_mark_repaired(strata_sync_context* context, strata_mutex* mutex);
STRATA_C_API int strata_mutex_is_held(strata_sync_context* context, const strata_mutex* mutex,
                                      int* is_held);

/* Many readers, 112 at most, or one writer. `hold` belongs to the reader until it unlocks. Readers
 * get not_ready where a writer died and nobody has repaired. */
STRATA_C_API int strata_rw_lock_lock_shared(strata_sync_context* context, strata_rw_lock* lock,
                                            uint64_t timeout_ms, uint32_t* hold);
STRATA_C_API int strata_rw_lock_unlock_shared(strata_sync_context* context, strata_rw_lock* lock,
                                              uint32_t hold);
STRATA_C_API int strata_rw_lock_lock(strata_sync_context* context, strata_rw_lock* lock,
                                     uint64_t timeout_ms, int* how);
STRATA_C_API int strata_rw_lock_unlock(strata_sync_context* context, strata_rw_lock* lock);
STRATA_C_API int strata_rw_lock_mark_repaired(strata_sync_context* context, strata_rw_lock* lock);

/* 1 to 62 permits. One belongs to the process that acquired it, and comes back when that dies:
 * `how` tells the next one. */
STRATA_C_API int strata_semaphore_init(strata_sync_context* context, strata_semaphore* semaphore,
                                       uint32_t permits);
STRATA_C_API int strata_semaphore_acquire(strata_sync_context* context, strata_semaphore* semaphore,
                                          uint64_t timeout_ms, uint32_t* permit, int* how);
STRATA_C_API int strata_semaphore_release(strata_sync_context* context, strata_semaphore* semaphore,
                                          uint32_t permit);

/* Set once, it stays set until it is reset. */
STRATA_C_API int strata_event_set(strata_sync_context* context, strata_event* event);
STRATA_C_API int strata_event_reset(strata_sync_context* context, strata_event* event);
STRATA_C_API int strata_event_is_set(strata_sync_context* context, const strata_event* event,
                                     int* is_set);
STRATA_C_API int strata_event_wait(strata_sync_context* context, strata_event* event,
                                   uint64_t timeout_ms);

/* 1 to 62 participants, each with a seat, wait for each other, phase after phase. Where one of them
 * dies before it arrives, the others get failed_precondition, naming it; another takes its seat. */
typedef struct strata_arrival {
  uint32_t seat;
  uint32_t phase;
} strata_arrival;
STRATA_C_API int strata_barrier_init(strata_sync_context* context, strata_barrier* barrier,
                                     uint32_t participants);
STRATA_C_API int strata_barrier_join(strata_sync_context* context, strata_barrier* barrier,
                                     uint32_t* seat);
STRATA_C_API int strata_barrier_leave(strata_sync_context* context, strata_barrier* barrier,
                                      uint32_t seat);
STRATA_C_API int strata_barrier_arrive(strata_sync_context* context, strata_barrier* barrier,
                                       uint32_t seat, strata_arrival* arrival);
/* After an error the arrival stands: wait again with it. */
STRATA_C_API int strata_barrier_wait(strata_sync_context* context, strata_barrier* barrier,
                                     const strata_arrival* arrival, uint64_t timeout_ms);

/* Waits, with `mutex` held, until somebody notifies, and holds it again: `was_notified` is 0 where
 * the deadline passed, which is no error. It wakes without cause too: look, in a loop, at what you
 * wait for. On failure the mutex is not held. */
STRATA_C_API int strata_condition_wait(strata_sync_context* context, strata_condition* condition,
                                       strata_mutex* mutex, uint64_t timeout_ms, int* was_notified,
                                       int* how);
STRATA_C_API int strata_condition_notify_one(strata_sync_context* context,
                                             strata_condition* condition);
STRATA_C_API int strata_condition_notify_all(strata_sync_context* context,
                                             strata_condition* condition);

/* ---- Rings ------------------------------------------------------------------------------------
 * Messages between processes, written and read in place. A ring stands in the segment's bytes,
 * aligned to 64, and is formatted once. Handles hold the context that they were opened with.
 *   Threads:  one thread for each handle. */

typedef struct strata_ring_options {
  size_t size;
  uint32_t slots;         /* a power of two, 2 to 1048576 */
  uint32_t message_bytes; /* the largest message, 1 to 1 GiB */
} strata_ring_options;

/* Between one producer and one consumer. Who dies in a role is replaced by the next who opens it; a
 * consumer that was killed before it released a message leaves it to its successor. */
STRATA_C_API int strata_spsc_ring_bytes(const strata_ring_options* options, uint64_t* bytes);
STRATA_C_API int strata_spsc_ring_format(strata_sync_context* context, void* ring,
                                         const strata_ring_options* options);
/* `predecessor_died`, which may be NULL: the last one in this role died in it. */
STRATA_C_API int strata_spsc_producer_open(strata_sync_context* context, void* ring,
                                           strata_spsc_producer** producer, int* predecessor_died);
STRATA_C_API void strata_spsc_producer_close(strata_spsc_producer* producer);
/* A slot to write a message of up to `max_bytes` into; the same again, until it is published. */
STRATA_C_API int strata_spsc_producer_loan(strata_spsc_producer* producer, uint64_t timeout_ms,
                                           void** message, size_t* max_bytes);
STRATA_C_API int strata_spsc_producer_publish(strata_spsc_producer* producer, size_t bytes);
/* Loan, copy, publish. */
STRATA_C_API int strata_spsc_producer_send(strata_spsc_producer* producer, const void* message,
                                           size_t bytes, uint64_t timeout_ms);
STRATA_C_API int strata_spsc_consumer_open(strata_sync_context* context, void* ring,
                                           strata_spsc_consumer** consumer, int* predecessor_died);
STRATA_C_API void strata_spsc_consumer_close(strata_spsc_consumer* consumer);
/* The oldest message, in place; the same again, until it is released. */
STRATA_C_API int strata_spsc_consumer_receive(strata_spsc_consumer* consumer, uint64_t timeout_ms,
                                              const void** message, size_t* bytes);
STRATA_C_API int strata_spsc_consumer_release(strata_spsc_consumer* consumer);

/* Between any number of producers and consumers. A message is received once at most. Give back each
 * loan and each message: they are the process's until then. */
typedef struct strata_loan {
  void* data;
  size_t max_bytes;
  uint64_t reserved[2];
} strata_loan;
typedef struct strata_message {
  const void* data;
  size_t bytes;
  uint64_t reserved[2];
} strata_message;
STRATA_C_API int strata_mpmc_ring_bytes(const strata_ring_options* options, uint64_t* bytes);
STRATA_C_API int strata_mpmc_ring_format(strata_sync_context* context, void* ring,
                                         const strata_ring_options* options);
STRATA_C_API int strata_mpmc_ring_open(strata_sync_context* context, void* at,
                                       strata_mpmc_ring** ring);
STRATA_C_API void strata_mpmc_ring_close(strata_mpmc_ring* ring);
STRATA_C_API int strata_mpmc_ring_loan(strata_mpmc_ring* ring, uint64_t timeout_ms,
                                       strata_loan* loan);
STRATA_C_API int strata_mpmc_ring_publish(strata_mpmc_ring* ring, strata_loan* loan, size_t bytes);
/* Gives a loan back unpublished. */
STRATA_C_API int strata_mpmc_ring_abandon(strata_mpmc_ring* ring, strata_loan* loan);
STRATA_C_API int strata_mpmc_ring_send(strata_mpmc_ring* ring, const void* message, size_t bytes,
                                       uint64_t timeout_ms);
STRATA_C_API int strata_mpmc_ring_receive(strata_mpmc_ring* ring, uint64_t timeout_ms,
                                          strata_message* message);
STRATA_C_API int strata_mpmc_ring_release(strata_mpmc_ring* ring, strata_message* message);

/* ---- The heap: objects in a segment -----------------------------------------------------------
 * Shared structures hold offsets, never pointers, since every process maps a segment elsewhere; 0
 * is nowhere. A forked child opens the heap anew.
 *   Threads:  any, at once. */

typedef struct strata_heap_options {
  size_t size;
  uint64_t region_bytes; /* the most that one object takes; 0: the whole segment, or 64 MiB */
  /* Threads take memory of their own node first, in a segment that is split over several. */
  int is_by_node;
} strata_heap_options;

/* What an object is: two programs agree where name, bytes, alignment and version do. C++ says the
 * same by TypeTraits. STRATA_TYPE(struct account, "bank.account", 1) makes one. */
typedef struct strata_type {
  size_t size;
  const char* name;
  uint64_t bytes;
  uint32_t align_bytes; /* a power of two, at most 4096 */
  uint32_t reserved;    /* 0 */
  uint64_t version;     /* changes with the layout */
} strata_type;

#define STRATA_TYPE(type, name, version) \
  { sizeof(strata_type), (name), sizeof(type), (uint32_t) __alignof__(type), 0u, (version) }

/* Makes a heap in a segment whose payload is still zero, of 128 KiB at least. */
STRATA_C_API int strata_heap_create(strata_segment* segment, const strata_heap_options* options,
                                    strata_heap** heap);
/* Opens it, and cleans up after dead processes. */
STRATA_C_API int strata_heap_open(strata_segment* segment, strata_heap** heap);
STRATA_C_API void strata_heap_close(strata_heap* heap);

/* Objects with names of 1 to 255 bytes. make: `initial`, or zeros where it is NULL, copied and then
 * published, so that others see it whole or not at all. `object` may be NULL. */
STRATA_C_API int strata_heap_make(strata_heap* heap, const char* name, const strata_type* type,
                                  const void* initial, void** object);
/* invalid_argument where the object is of another type, with both in the message. */
STRATA_C_API int strata_heap_find(const strata_heap* heap, const char* name,
                                  const strata_type* type, void** object);
STRATA_C_API int strata_heap_find_or_make(strata_heap* heap, const char* name,
                                          const strata_type* type, const void* initial,
                                          void** object);
/* Takes the name away and frees the object. `type` NULL: whatever it is. */
STRATA_C_API int strata_heap_remove(strata_heap* heap, const char* name, const strata_type* type);

/* make in two steps: the object is filled in place before it is published. Uninitialised. A draft
 * is of the thread that began it, which has one at a time; closed unpublished, it leaves nothing.
 */
STRATA_C_API int strata_heap_begin(strata_heap* heap, const char* name, const strata_type* type,
                                   strata_draft** draft, void** object);
STRATA_C_API int strata_draft_publish(strata_draft* draft);
STRATA_C_API void strata_draft_close(strata_draft* draft);

typedef struct strata_object_info {
  size_t size;
  char name[256];
  char type[256]; /* the name of its type; perhaps cut */
  uint64_t offset_bytes;
  uint64_t bytes;
  uint32_t align_bytes;
} strata_object_info;
typedef int (*strata_object_visitor)(const strata_object_info* object, void* user);

STRATA_C_API int strata_heap_stat(const strata_heap* heap, const char* name,
                                  strata_object_info* info);
/* Other than 0 from the visitor ends the walk. */
STRATA_C_API int strata_heap_list(const strata_heap* heap, strata_object_visitor visit, void* user);

/* Blocks without a name. allocate_to and free_from change the block and the word that holds its
 * offset, in this segment, together, whatever process dies: prefer them, or a transaction, to
 * allocate and free. The word is 0 before the one and after the other. */
STRATA_C_API int strata_heap_allocate(strata_heap* heap, uint64_t bytes, uint64_t align_bytes,
                                      uint64_t* offset);
STRATA_C_API int strata_heap_free(strata_heap* heap, uint64_t offset);
STRATA_C_API int strata_heap_allocate_to(strata_heap* heap, uint64_t* word, uint64_t bytes,
                                         uint64_t align_bytes);
STRATA_C_API int strata_heap_free_from(strata_heap* heap, uint64_t* word);
STRATA_C_API int strata_heap_usable_bytes(const strata_heap* heap, uint64_t offset,
                                          uint64_t* bytes);
/* The address of `bytes` bytes at an offset, which may come from shared memory and be anything:
 * invalid_argument where they are not wholly inside. */
STRATA_C_API int strata_heap_address(const strata_heap* heap, uint64_t offset, uint64_t bytes,
                                     void** address);
STRATA_C_API int strata_heap_offset(const strata_heap* heap, const void* address, uint64_t* offset);

/* Cleans up after every dead process, which others do when memory is short. */
STRATA_C_API int strata_heap_recover(strata_heap* heap);
/* Walks everything and changes nothing: corrupt where something is wrong, with what is first. */
STRATA_C_API int strata_heap_check(const strata_heap* heap);

/* ---- Transactions -----------------------------------------------------------------------------
 * Many updates happen all or not at all: when the process is killed at any instruction, and on a
 * pool when the power fails. Whoever gets a lock that a killed transaction held finishes or
 * discards it.
 *   Threads:  one at a time.
 *   Lifetime: it holds its heap. Closed open, it aborts. In a forked child it is its parent's.
 *   Errors:   after an error in the middle commit returns it, and changes nothing;
 *             failed_precondition once it has ended. One that begins while its thread has another
 *             is independent of that, and waits for its locks. */

typedef struct strata_range {
  void* address;
  uint64_t bytes;
} strata_range;

/* Takes the locks, 8 at most, in the order of their addresses. They guard what it changes, lie in
 * this heap's segment, and are released when it ends. `timeout_ms` is for all of them. */
STRATA_C_API int strata_transaction_begin(strata_heap* heap, strata_mutex* const* locks,
                                          size_t lock_count, uint64_t timeout_ms,
                                          strata_transaction** transaction);
/* Makes the log of the heap's transactions larger or smaller than the one that the first of them
 * makes (16 slots of up to 64 KiB, on a pool 256 KiB): `slots` run at the same time, and each
 * changes up to about half of `slot_bytes`, a multiple of 4096. already_exists after the first
 * transaction. */
STRATA_C_API int strata_heap_make_transaction_log(strata_heap* heap, uint32_t slots,
                                                  uint64_t slot_bytes);
/* At commit `target`, in the segment, becomes `value`; at once where it is in a block of allocate,
 * or under a snapshot. */
STRATA_C_API int strata_transaction_write(strata_transaction* transaction, void* target,
                                          const void* value, uint64_t bytes);
/* What `source`, in the segment, is for this transaction: with what it has written. */
STRATA_C_API int strata_transaction_read(strata_transaction* transaction, void* into,
                                         const void* source, uint64_t bytes);
/* Keeps the old bytes, so that they may be changed in place from now on until it ends. On a pool
 * give all ranges at once: each call waits for the medium. */
STRATA_C_API int strata_transaction_snapshot(strata_transaction* transaction,
                                             const strata_range* ranges, size_t range_count);
/* A block, uninitialised, to be filled in place. It exists once the transaction has committed. */
STRATA_C_API int strata_transaction_allocate(strata_transaction* transaction, uint64_t bytes,
                                             uint64_t align_bytes, uint64_t* offset);
/* Frees the block at commit. */
STRATA_C_API int strata_transaction_free(strata_transaction* transaction, uint64_t offset);
/* Where it fails, the transaction has ended too. */
STRATA_C_API int strata_transaction_commit(strata_transaction* transaction);
STRATA_C_API int strata_transaction_abort(strata_transaction* transaction);
STRATA_C_API void strata_transaction_close(strata_transaction* transaction);

/* ---- Pools ------------------------------------------------------------------------------------
 * A file of named segments that survives restarts, kills and power loss. Its segments are made and
 * attached through a catalog, as "pmem:PATH#NAME"; here is what concerns the pool as a whole.
 *   Threads:  any, at once. A pool handle holds no lock and no open file. */

typedef struct strata_pool_options {
  size_t size;
  uint64_t bytes; /* of the file, 8 MiB at least */
  uint32_t slots; /* segments, with their old versions; 0: 2944 */
  uint32_t mode;  /* 0: 0600 */
} strata_pool_options;

typedef struct strata_pool_entry {
  size_t size;
  char name[208];
  uint64_t version;
  uint8_t uuid[16];
  uint64_t payload_bytes;
  uint64_t max_bytes;
  uint64_t published_unix_ns;
  uint32_t keep_versions;
  int is_current;   /* it is what the name means; else an older version */
  int is_immutable; /* a checkpoint */
  int has_checksums;
  char problem[512]; /* why it must not be used, perhaps cut; empty where it is sound */
} strata_pool_entry;
typedef int (*strata_pool_visitor)(const strata_pool_entry* entry, void* user);

STRATA_C_API int strata_pool_create(const char* path, const strata_pool_options* options,
                                    strata_pool** pool);
STRATA_C_API int strata_pool_open(const char* path, strata_pool** pool);
STRATA_C_API void strata_pool_close(strata_pool* pool);
/* Every version of every name that somebody can use, by name and from new to old. */
STRATA_C_API int strata_pool_list(const strata_pool* pool, strata_pool_visitor visit, void* user);
STRATA_C_API int strata_pool_remove(const strata_pool* pool, const char* name,
                                    int even_if_attached);
STRATA_C_API int strata_pool_rename(const strata_pool* pool, const char* from, const char* to);
STRATA_C_API int strata_pool_resize(const strata_pool* pool, const char* name,
                                    uint64_t new_payload_bytes);
/* Makes an older version the current one again; 0: the newest of them. */
STRATA_C_API int strata_pool_rollback(const strata_pool* pool, const char* name, uint64_t version);
/* Removes older versions beyond the newest `keep`; `removed` may be NULL. */
STRATA_C_API int strata_pool_trim(const strata_pool* pool, const char* name, uint32_t keep,
                                  uint32_t* removed);

#define STRATA_KEEP_NONE UINT32_MAX

typedef struct strata_checkpoint_options {
  size_t size;
  uint32_t block_bytes;          /* that one checksum covers, a power of two; 0: 64 KiB */
  uint32_t keep_versions;        /* older ones; 0: 2; STRATA_KEEP_NONE: none */
  uint32_t threads;              /* 0: one for each processor, at most 8 */
  uint32_t timeout_ms;           /* for the lock of the pool; 0: 10000 */
  const strata_content* content; /* of the bytes; NULL: that of the segment, or plain bytes */
} strata_checkpoint_options;

typedef struct strata_checkpoint_report {
  size_t size;
  uint64_t version;
  uint64_t blocks;
  uint64_t blocks_written; /* those whose hash differs from that of the version written over */
  uint64_t bytes_written;
} strata_checkpoint_report;

/* The content of a segment of any kind as a new version of `name`, immutable and with checksums. It
 * must hold still meanwhile. It is there wholly or not at all. `report` may be NULL. */
STRATA_C_API int strata_pool_checkpoint(const strata_pool* pool, const char* name,
                                        const strata_segment* from,
                                        const strata_checkpoint_options* options,
                                        strata_checkpoint_report* report);
/* The same of bytes in memory. */
STRATA_C_API int strata_pool_checkpoint_bytes(const strata_pool* pool, const char* name,
                                              const void* from, uint64_t bytes,
                                              const strata_checkpoint_options* options,
                                              strata_checkpoint_report* report);

typedef struct strata_load_options {
  size_t size;
  uint64_t version;       /* 0: the current one */
  int even_if_unverified; /* also a version without checksums, which was not checkpointed */
  uint32_t threads;
} strata_load_options;

typedef struct strata_load_report {
  size_t size;
  uint64_t version;
  uint64_t bytes;
  uint64_t blocks_verified;
} strata_load_report;

/* Copies a version into the first bytes of a segment that is attached for writing. corrupt, with
 * the first block that is damaged; on failure the content is unspecified. `report` may be NULL. */
STRATA_C_API int strata_pool_load(const strata_pool* pool, const char* name, strata_segment* to,
                                  const strata_load_options* options, strata_load_report* report);
STRATA_C_API int strata_pool_load_bytes(const strata_pool* pool, const char* name, void* to,
                                        uint64_t capacity_bytes, const strata_load_options* options,
                                        strata_load_report* report);
/* Compares every block of a version (0: the current one) with its checksum: corrupt where one
 * differs, with how many and the first. `blocks_verified` may be NULL. */
STRATA_C_API int strata_pool_verify(const strata_pool* pool, const char* name, uint64_t version,
                                    uint64_t* blocks_verified);

/* ---- Devices ----------------------------------------------------------------------------------
 * Of "cuda:" segments; unsupported for other memory. A stream is a CUstream or cudaStream_t of the
 * primary context of the segment's device; NULL is the default stream. */

typedef struct strata_device_span {
  size_t size;
  uint64_t address; /* as the driver knows it in this process; the host cannot use it */
  uint64_t bytes;
  uint8_t device_uuid[16];
} strata_device_span;

typedef struct strata_device_info {
  size_t size;
  int ordinal;
  uint8_t uuid[16];
  uint64_t total_bytes;
  char name[256];
  char pci_address[32];
} strata_device_info;

STRATA_C_API int strata_segment_device_bytes(const strata_segment* segment,
                                             strata_device_span* span);
/* The device that the segment is mapped into. */
STRATA_C_API int strata_segment_device(const strata_segment* segment, strata_device_info* info);

typedef enum strata_copy_path {
  STRATA_COPY_ON_DEVICE = 0,
  STRATA_COPY_PEER = 1,
  STRATA_COPY_PINNED = 2,
  STRATA_COPY_STAGED = 3, /* through pinned buffers: there is no direct way */
  STRATA_COPY_HOST = 4
} strata_copy_path;

typedef struct strata_copy_options {
  size_t size;
  void* stream;
  uint64_t from_offset_bytes;
  uint64_t to_offset_bytes;
  uint64_t bytes; /* 0: up to the end of what is copied */
} strata_copy_options;

typedef struct strata_copy_report {
  size_t size;
  uint32_t path; /* strata_copy_path */
  int is_done;   /* 0: it is on the stream, and both segments have to stay until it has passed */
  uint64_t bytes;
  char why[512]; /* why there was no direct way; perhaps cut */
} strata_copy_report;

/* Copies between any two segments, on the stream where there is a direct way. */
STRATA_C_API int strata_segment_copy(const strata_segment* from, strata_segment* to,
                                     const strata_copy_options* options,
                                     strata_copy_report* report);

/* A timeline orders the work of several processes on one device segment: 64 slots, each with one
 * owner who signals 1, 2, 3, ... and any number of followers who wait for that, from the host or in
 * a stream. Where an owner dies, waits for it end with failed_precondition. Handles hold the
 * segment, and each is of one thread at a time. */
STRATA_C_API int strata_timeline_open(strata_segment* segment, strata_timeline** timeline);
STRATA_C_API void strata_timeline_close(strata_timeline* timeline);
STRATA_C_API int strata_timeline_claim(strata_timeline* timeline, uint32_t slot,
                                       strata_signaller** signaller);
STRATA_C_API int strata_timeline_follow(strata_timeline* timeline, uint32_t slot,
                                        uint64_t timeout_ms, strata_follower** follower);
/* Gives the slot back. */
STRATA_C_API void strata_signaller_close(strata_signaller* signaller);
STRATA_C_API int strata_signaller_signal(strata_signaller* signaller, uint64_t number);
STRATA_C_API int strata_signaller_signal_on(strata_signaller* signaller, void* stream,
                                            uint64_t number);
STRATA_C_API void strata_follower_close(strata_follower* follower);
STRATA_C_API int strata_follower_wait(const strata_follower* follower, uint64_t number,
                                      uint64_t timeout_ms);
STRATA_C_API int strata_follower_is_reached(const strata_follower* follower, uint64_t number,
                                            int* is_reached);
/* Lets a stream wait. What it did after that is worth something only where the result says so. */
STRATA_C_API int strata_follower_wait_on(const strata_follower* follower, void* stream,
                                         uint64_t number, uint64_t timeout_ms,
                                         strata_pending_wait** pending);
STRATA_C_API int strata_pending_wait_result(const strata_pending_wait* pending,
                                            uint64_t timeout_ms);
/* Does not end the wait. */
STRATA_C_API void strata_pending_wait_close(strata_pending_wait* pending);

#endif /* STRATA_C_H_ */

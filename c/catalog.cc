// Segments by name: open, create, attach, remove.
#include "c/catalog_options.h"
#include "c/handles.h"
#include "strata/strata.h"

using namespace strata;
using namespace strata::c;

namespace {

Result<CatalogOptions> catalog_options_of(const strata_catalog_options* given) {
  STRATA_ASSIGN(const strata_catalog_options from, read_options(given, "options"));
  CatalogOptions options;
  if (from.shm_directory != nullptr) options.shm_directory = from.shm_directory;
  options.huge_2m_directory = text_or_empty(from.huge_2m_directory);
  options.huge_1g_directory = text_or_empty(from.huge_1g_directory);
  STRATA_ASSIGN(options.pools, texts(from.pools, from.pool_count, "pools"));
  options.cuda.directory = text_or_empty(from.cuda_directory);
  options.cuda.driver_library = text_or_empty(from.cuda_driver_library);
  if (from.cuda_device_directory != nullptr)
    options.cuda.device_directory = from.cuda_device_directory;
  STRATA_ASSIGN(
      options.cuda.holder_command,
      texts(from.cuda_holder_command, from.cuda_holder_command_count, "cuda_holder_command"));
  return options;
}

// A function of C that fills, as one of C++. What it returns is its own error, and what this thread
// failed at last says why.
Catalog::Fill fill_of(strata_fill fill, void* user) {
  if (fill == nullptr) return {};
  return [fill, user](Segment& segment) -> Result<void> {
    strata_segment handle(segment.share());
    handle.is_lent = true;
    const int code = fill(&handle, user);
    if (code == STRATA_OK) return {};
    const bool is_last = code == strata_error_code();
    return strata::fail(code_from(code),
                        is_last ? strata_error_message() : "fill returned " + std::to_string(code));
  };
}

}  // namespace

int strata_catalog_open(const strata_catalog_options* options, strata_catalog** catalog) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_pointer(catalog, "catalog"));
    STRATA_ASSIGN(const CatalogOptions checked, catalog_options_of(options));
    *catalog = new strata_catalog(open_catalog(checked));
    return {};
  });
}

void strata_catalog_close(strata_catalog* catalog) { close_handle(catalog); }

int strata_catalog_create(strata_catalog* catalog, const char* uri,
                          const strata_create_options* options, strata_segment** segment) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(catalog, "catalog"));
    STRATA_TRY(check_pointer(segment, "segment"));
    STRATA_ASSIGN(const std::string_view name, text(uri, "uri"));
    STRATA_ASSIGN(const CreateOptions checked, create_options_of(options));
    STRATA_ASSIGN(Segment made, catalog->catalog.create(name, checked));
    *segment = new strata_segment(std::move(made));
    return {};
  });
}

int strata_catalog_create_anonymous(strata_catalog* catalog, const strata_create_options* options,
                                    strata_segment** segment) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(catalog, "catalog"));
    STRATA_TRY(check_pointer(segment, "segment"));
    STRATA_ASSIGN(const CreateOptions checked, create_options_of(options));
    STRATA_ASSIGN(Segment made, catalog->catalog.create_anonymous(checked));
    *segment = new strata_segment(std::move(made));
    return {};
  });
}

int strata_catalog_attach(strata_catalog* catalog, const char* uri,
                          const strata_attach_options* options, strata_segment** segment) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(catalog, "catalog"));
    STRATA_TRY(check_pointer(segment, "segment"));
    STRATA_ASSIGN(const std::string_view name, text(uri, "uri"));
    STRATA_ASSIGN(const AttachOptions checked, attach_options_of(options));
    STRATA_ASSIGN(Segment made, catalog->catalog.attach(name, checked));
    *segment = new strata_segment(std::move(made));
    return {};
  });
}

int strata_catalog_create_or_attach(strata_catalog* catalog, const char* uri,
                                    const strata_create_options* create, strata_fill fill,
                                    void* user, const strata_attach_options* attach,
                                    strata_segment** segment, int* was_created) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(catalog, "catalog"));
    STRATA_TRY(check_pointer(segment, "segment"));
    STRATA_ASSIGN(const std::string_view name, text(uri, "uri"));
    STRATA_ASSIGN(const CreateOptions create_checked, create_options_of(create));
    STRATA_ASSIGN(const AttachOptions attach_checked, attach_options_of(attach));
    STRATA_ASSIGN(CreatedOrAttached made,
                  catalog->catalog.create_or_attach(name, create_checked, fill_of(fill, user),
                                                    attach_checked));
    *segment = new strata_segment(std::move(made.segment));
    if (was_created != nullptr) *was_created = made.was_created ? 1 : 0;
    return {};
  });
}

int strata_catalog_remove(strata_catalog* catalog, const char* uri,
                          const strata_remove_options* options) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(catalog, "catalog"));
    STRATA_ASSIGN(const std::string_view name, text(uri, "uri"));
    STRATA_ASSIGN(const strata_remove_options from, read_options(options, "options"));
    RemoveOptions checked;
    checked.even_if_attached = from.even_if_attached != 0;
    std::copy(std::begin(from.uuid), std::end(from.uuid), checked.uuid.begin());
    return catalog->catalog.remove(name, checked);
  });
}

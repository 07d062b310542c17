#include "strata/gpu/map_to_device.h"

#include <fmt/format.h>

#include "numa/page_report.h"
#include "segment/attachment.h"

namespace strata::inline v0_1::cuda {

void DeviceView::look_where_pages_are() {
  const Attachment& attachment = attachment_of(segment());
  Os& os = attachment.plane->os();
  near_ = near_node(os, *device_);
  auto pages = report(os, {attachment.host, span_.bytes});
  if (!pages) {
    caution_ = "it is not known where its pages are: " + pages.error().message();
    return;
  }
  pages_ = *std::move(pages);
  if (!near_.node) {
    caution_ = "whether its pages are near is not known: " + near_.source;
    return;
  }
  const std::uint64_t near_pages = pages_.pages_on(*near_.node);
  if (near_pages == pages_.pages_total) return;
  caution_ = fmt::format(
      "{} of its {} pages are not on node {}, which is near to {} ({}): create it there (--near, "
      "or "
      "Placement::Kind::near_pci), or move it there before it is mapped (strata migrate)",
      pages_.pages_total - near_pages, pages_.pages_total, *near_.node, device_->describe(),
      near_.source);
}

Result<DeviceView> map_to_device(const Segment& segment, Device& device) {
  STRATA_ASSIGN(auto registration, HostRegistration::of(segment, device));
  DeviceView view(device, std::move(registration));
  STRATA_ASSIGN(view.span_.address, view.registration_->address_on(device));
  view.span_.bytes = view.registration_->bytes();
  view.span_.device_uuid = device.uuid();
  view.look_where_pages_are();
  return view;
}

}  // namespace strata::inline v0_1::cuda

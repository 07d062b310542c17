// map_to_device() lets a device read and write the payload of a segment where it lies, in the
// memory of the host: no copy, and transfers at the full speed of the bus.
//
//     STRATA_ASSIGN(const DeviceView view, map_to_device(segment, device));
//     STRATA_TRY(STRATA_CUDA(driver, cuMemcpyAsync, to, view.span().address, bytes, stream));
//
//   Threads:  const members any.
//   Lifetime: the view holds the attachment, whatever becomes of the caller's Segment. What the
//             device still does with the memory must have ended before the last view of it does:
//             wait for the streams. In a forked child it is of no use, and harmless.
//   Errors:   as HostRegistration::of. Nothing stays registered on failure.
//   Cost:     as HostRegistration; and a look at where every page is (numa/page_report.h).
#pragma once

#include <memory>
#include <string>

#include "strata/base/result.h"
#include "strata/gpu/host_registration.h"
#include "strata/gpu/near_node.h"
#include "strata/segment/device_span.h"
#include "strata/segment/placement_report.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::cuda {

class DeviceView {
 public:
  // The payload as it was when it was mapped; writing through one of a segment that is attached
  // read-only is an error of the device, which ends its context.
  const DeviceSpan& span() const { return span_; }
  Device& device() const { return *device_; }
  const Segment& segment() const { return registration_->segment(); }

  // Where its pages are, and which node the device is near to.
  const PlacementReport& pages() const { return pages_; }
  const NearNode& near() const { return near_; }
  // What slows the transfers, and what to do about it; empty where every page is near to the
  // device.
  const std::string& caution() const { return caution_; }

 private:
  friend Result<DeviceView> map_to_device(const Segment& segment, Device& device);
  DeviceView(Device& device, std::shared_ptr<HostRegistration> registration)
      : device_(&device), registration_(std::move(registration)) {}
  void look_where_pages_are();

  Device* device_;
  std::shared_ptr<HostRegistration> registration_;
  DeviceSpan span_;
  PlacementReport pages_;
  NearNode near_;
  std::string caution_;
};

Result<DeviceView> map_to_device(const Segment& segment, Device& device);

}  // namespace strata::inline v0_1::cuda
#pragma GCC visibility pop

! Strata in Fortran 2008: what programs need most of <strata/c.h>, which says what each function does.
! Compile it with your program. What is not here is declared in the same way.
!
! Options, types and places are passed by c_loc(), and c_null_ptr asks for the defaults; the variable
! needs the attribute `target`. Texts end with c_null_char. Every function gives a code: strata_ok, or
! why not, which strata_message() tells in words.
module strata
  use, intrinsic :: iso_c_binding
  implicit none
  public

  integer(c_int), parameter :: strata_ok = 0, strata_invalid_argument = 1, strata_not_found = 2, &
    strata_already_exists = 3, strata_permission_denied = 4, strata_exhausted = 5, &
    strata_not_ready = 6, strata_timed_out = 7, strata_corrupt = 8, strata_unsupported = 9, &
    strata_failed_precondition = 10, strata_internal = 11

  integer(c_int), parameter :: strata_clean = 0, strata_owner_died = 1

  integer(c_int32_t), parameter :: strata_lifetime_process = 1, strata_lifetime_last_detach = 2, &
    strata_lifetime_job = 3, strata_lifetime_until_removed = 4
  integer(c_int32_t), parameter :: strata_publish_by_creator = 2
  integer(c_int32_t), parameter :: strata_read_only = 1, strata_read_write = 2, &
    strata_copy_on_write = 3

  ! What stands in shared bytes; zeros are a free lock and an event that is not set.
  type, bind(C) :: strata_mutex
    integer(c_int64_t) :: reserved(8) = 0
  end type
  type, bind(C) :: strata_event
    integer(c_int64_t) :: reserved(2) = 0
  end type

  ! Set `size` to c_sizeof() of the variable.
  type, bind(C) :: strata_create_options
    integer(c_size_t) :: size = 0
    integer(c_int64_t) :: payload_bytes = 0
    integer(c_int64_t) :: max_bytes = 0
    integer(c_int32_t) :: lifetime = 0
    integer(c_int32_t) :: page_size = 0
    integer(c_int32_t) :: commit = 0
    integer(c_int32_t) :: publish = 0
    integer(c_int32_t) :: mode = 0
    integer(c_int32_t) :: device_mechanism = 0
    type(c_ptr) :: job_id = c_null_ptr
    type(c_ptr) :: placement = c_null_ptr
    type(c_ptr) :: device = c_null_ptr
    integer(c_int) :: is_filled_by_creator = 0
    type(c_ptr) :: content = c_null_ptr
  end type

  type, bind(C) :: strata_attach_options
    integer(c_size_t) :: size = 0
    integer(c_int32_t) :: access = 0
    integer(c_int) :: populate = 0
    integer(c_int64_t) :: timeout_ms = 0
    type(c_ptr) :: device = c_null_ptr
  end type

  ! What an object is: make_type() fills it in.
  type, bind(C) :: strata_type
    integer(c_size_t) :: size = 0
    type(c_ptr) :: name = c_null_ptr
    integer(c_int64_t) :: bytes = 0
    integer(c_int32_t) :: align_bytes = 0
    integer(c_int32_t) :: reserved = 0
    integer(c_int64_t) :: version = 0
  end type

  interface
    function strata_error_text() bind(C, name="strata_error_message")
      import :: c_ptr
      type(c_ptr) :: strata_error_text
    end function

    function strata_catalog_open(options, catalog) bind(C) result(code)
      import :: c_ptr, c_int
      type(c_ptr), value :: options
      type(c_ptr), intent(inout) :: catalog
      integer(c_int) :: code
    end function
    subroutine strata_catalog_close(catalog) bind(C)
      import :: c_ptr
      type(c_ptr), value :: catalog
    end subroutine
    function strata_catalog_create(catalog, uri, options, segment) bind(C) result(code)
      import :: c_ptr, c_int, c_char
      type(c_ptr), value :: catalog, options
      character(kind=c_char), intent(in) :: uri(*)
      type(c_ptr), intent(inout) :: segment
      integer(c_int) :: code
    end function
    function strata_catalog_attach(catalog, uri, options, segment) bind(C) result(code)
      import :: c_ptr, c_int, c_char
      type(c_ptr), value :: catalog, options
      character(kind=c_char), intent(in) :: uri(*)
      type(c_ptr), intent(inout) :: segment
      integer(c_int) :: code
    end function
    function strata_catalog_remove(catalog, uri, options) bind(C) result(code)
      import :: c_ptr, c_int, c_char
      type(c_ptr), value :: catalog, options
      character(kind=c_char), intent(in) :: uri(*)
      integer(c_int) :: code
    end function

    subroutine strata_segment_close(segment) bind(C)
      import :: c_ptr
      type(c_ptr), value :: segment
    end subroutine
    function strata_segment_bytes(segment, bytes, payload_bytes) bind(C) result(code)
      import :: c_ptr, c_int, c_int64_t
      type(c_ptr), value :: segment
      type(c_ptr), intent(inout) :: bytes
      integer(c_int64_t), intent(inout) :: payload_bytes
      integer(c_int) :: code
    end function
    function strata_segment_writable_bytes(segment, bytes, payload_bytes) bind(C) result(code)
      import :: c_ptr, c_int, c_int64_t
      type(c_ptr), value :: segment
      type(c_ptr), intent(inout) :: bytes
      integer(c_int64_t), intent(inout) :: payload_bytes
      integer(c_int) :: code
    end function
    function strata_segment_publish(segment) bind(C) result(code)
      import :: c_ptr, c_int
      type(c_ptr), value :: segment
      integer(c_int) :: code
    end function
    function strata_segment_seal(segment, timeout_ms) bind(C) result(code)
      import :: c_ptr, c_int, c_int64_t
      type(c_ptr), value :: segment
      integer(c_int64_t), value :: timeout_ms
      integer(c_int) :: code
    end function
    function strata_segment_verify(segment) bind(C) result(code)
      import :: c_ptr, c_int
      type(c_ptr), value :: segment
      integer(c_int) :: code
    end function

    function strata_sync_context_open(segment, context) bind(C) result(code)
      import :: c_ptr, c_int
      type(c_ptr), value :: segment
      type(c_ptr), intent(inout) :: context
      integer(c_int) :: code
    end function
    subroutine strata_sync_context_close(context) bind(C)
      import :: c_ptr
      type(c_ptr), value :: context
    end subroutine
    function strata_mutex_lock(context, mutex, timeout_ms, how) bind(C) result(code)
      import :: c_ptr, c_int, c_int64_t
      type(c_ptr), value :: context, mutex
      integer(c_int64_t), value :: timeout_ms
      integer(c_int), intent(inout) :: how
      integer(c_int) :: code
    end function
    function strata_mutex_unlock(context, mutex) bind(C) result(code)
      import :: c_ptr, c_int
      type(c_ptr), value :: context, mutex
      integer(c_int) :: code
    end function
    function strata_mutex_mark_repaired(context, mutex) bind(C) result(code)
      import :: c_ptr, c_int
      type(c_ptr), value :: context, mutex
      integer(c_int) :: code
    end function
    function strata_event_set(context, event) bind(C) result(code)
      import :: c_ptr, c_int
      type(c_ptr), value :: context, event
      integer(c_int) :: code
    end function
    function strata_event_wait(context, event, timeout_ms) bind(C) result(code)
      import :: c_ptr, c_int, c_int64_t
      type(c_ptr), value :: context, event
      integer(c_int64_t), value :: timeout_ms
      integer(c_int) :: code
    end function

    function strata_heap_create(segment, options, heap) bind(C) result(code)
      import :: c_ptr, c_int
      type(c_ptr), value :: segment, options
      type(c_ptr), intent(inout) :: heap
      integer(c_int) :: code
    end function
    function strata_heap_open(segment, heap) bind(C) result(code)
      import :: c_ptr, c_int
      type(c_ptr), value :: segment
      type(c_ptr), intent(inout) :: heap
      integer(c_int) :: code
    end function
    subroutine strata_heap_close(heap) bind(C)
      import :: c_ptr
      type(c_ptr), value :: heap
    end subroutine
    function strata_heap_make(heap, name, type, initial, object) bind(C) result(code)
      import :: c_ptr, c_int, c_char
      type(c_ptr), value :: heap, type, initial
      character(kind=c_char), intent(in) :: name(*)
      type(c_ptr), intent(inout) :: object
      integer(c_int) :: code
    end function
    function strata_heap_find(heap, name, type, object) bind(C) result(code)
      import :: c_ptr, c_int, c_char
      type(c_ptr), value :: heap, type
      character(kind=c_char), intent(in) :: name(*)
      type(c_ptr), intent(inout) :: object
      integer(c_int) :: code
    end function

    function strata_transaction_begin(heap, locks, lock_count, timeout_ms, transaction) bind(C) &
        result(code)
      import :: c_ptr, c_int, c_size_t, c_int64_t
      type(c_ptr), value :: heap
      type(c_ptr), intent(in) :: locks(*)
      integer(c_size_t), value :: lock_count
      integer(c_int64_t), value :: timeout_ms
      type(c_ptr), intent(inout) :: transaction
      integer(c_int) :: code
    end function
    function strata_transaction_write(transaction, target, value, bytes) bind(C) result(code)
      import :: c_ptr, c_int, c_int64_t
      type(c_ptr), value :: transaction, target, value
      integer(c_int64_t), value :: bytes
      integer(c_int) :: code
    end function
    function strata_transaction_commit(transaction) bind(C) result(code)
      import :: c_ptr, c_int
      type(c_ptr), value :: transaction
      integer(c_int) :: code
    end function
    subroutine strata_transaction_close(transaction) bind(C)
      import :: c_ptr
      type(c_ptr), value :: transaction
    end subroutine
  end interface

contains

  ! Why the last call of this thread that failed did so.
  function strata_message() result(text)
    character(len=:), allocatable :: text
    character(kind=c_char), pointer :: letters(:)
    integer :: length, i
    call c_f_pointer(strata_error_text(), letters, [huge(0)])
    length = 0
    do while (letters(length + 1) /= c_null_char)
      length = length + 1
    end do
    allocate (character(len=length) :: text)
    do i = 1, length
      text(i:i) = letters(i)
    end do
  end function

  ! The tag of a type of so many bytes. `name` ends with c_null_char, and has to stay as long as the
  ! tag is used.
  function make_type(name, bytes, align_bytes, version) result(tag)
    character(kind=c_char, len=*), target, intent(in) :: name
    integer(c_size_t), intent(in) :: bytes
    integer, intent(in) :: align_bytes, version
    type(strata_type) :: tag
    tag%size = c_sizeof(tag)
    tag%name = c_loc(name)
    tag%bytes = bytes
    tag%align_bytes = int(align_bytes, c_int32_t)
    tag%version = version
  end function

end module

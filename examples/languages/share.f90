! The ledger of share.c, in Fortran: it reads what the others have written, and adds an entry under the
! ledger's lock.
!
!     gfortran strata.f90 share.f90 -lstrata -o share && ./share shm:ledger
program share
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: error_unit
  use strata
  implicit none

  ! The same bytes as in C.
  type, bind(C) :: entry
    character(kind=c_char) :: language(16)
    integer(c_int64_t) :: value
  end type
  type, bind(C) :: ledger
    type(strata_mutex) :: lock
    integer(c_int64_t) :: total
    integer(c_int64_t) :: entry_count
    type(entry) :: entries(8)
  end type

  integer(c_int64_t), parameter :: ten_seconds_ms = 10000
  character(kind=c_char, len=*), parameter :: type_name = "example.ledger" // c_null_char
  character(kind=c_char, len=len(type_name)), target :: name = type_name
  character(len=256) :: uri
  type(c_ptr) :: catalog = c_null_ptr, segment = c_null_ptr, heap = c_null_ptr
  type(c_ptr) :: context = c_null_ptr, found = c_null_ptr
  type(strata_type), target :: ledger_type
  type(ledger), pointer :: book
  type(ledger) :: any_ledger
  integer(c_int) :: how

  call get_command_argument(1, uri)
  ledger_type = make_type(name, c_sizeof(any_ledger), 8, 1)

  call must(strata_catalog_open(c_null_ptr, catalog))
  call must(strata_catalog_attach(catalog, trim(uri) // c_null_char, c_null_ptr, segment))
  call must(strata_heap_open(segment, heap))
  call must(strata_heap_find(heap, "ledger" // c_null_char, c_loc(ledger_type), found))
  call c_f_pointer(found, book)

  call must(strata_sync_context_open(segment, context))
  call must(strata_mutex_lock(context, c_loc(book%lock), ten_seconds_ms, how))
  ! Where the last holder died, what it changed would be repaired here.
  if (how == strata_owner_died) call must(strata_mutex_mark_repaired(context, c_loc(book%lock)))
  call add_entry(book)
  call must(strata_mutex_unlock(context, c_loc(book%lock)))

  ! In any order.
  call strata_catalog_close(catalog)
  call strata_segment_close(segment)
  call strata_heap_close(heap)
  call strata_sync_context_close(context)

contains

  subroutine must(code)
    integer(c_int), intent(in) :: code
    if (code == strata_ok) return
    write (error_unit, '(a)') strata_message()
    stop 1
  end subroutine

  function letters_of(language) result(text)
    character(kind=c_char), intent(in) :: language(16)
    character(len=:), allocatable :: text
    integer :: i
    text = ""
    do i = 1, 16
      if (language(i) == c_null_char) exit
      text = text // language(i)
    end do
  end function

  subroutine add_entry(book)
    type(ledger), intent(inout) :: book
    character(len=*), parameter :: mine = "Fortran"
    integer :: i, next
    do i = 1, int(book%entry_count)
      print '(a, i0)', "Fortran reads: " // letters_of(book%entries(i)%language) // " added ", &
        book%entries(i)%value
    end do
    next = int(book%entry_count) + 1
    if (next > size(book%entries)) stop 1
    book%entries(next)%language = c_null_char
    do i = 1, len(mine)
      book%entries(next)%language(i) = mine(i:i)
    end do
    book%entries(next)%value = next
    book%total = book%total + next
    book%entry_count = next
    print '(a, i0)', "Fortran makes the total ", book%total
  end subroutine

end program

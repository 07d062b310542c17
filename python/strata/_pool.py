"""Pools: files that keep arrays over restarts, kills and power loss, in versions."""

import os
import re

from strata import _core

_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")


class Pool:
    """A pool file, which `strata pool` and libpmemobj's own tools know too.

        with strata.Pool("/data/run.pool", size="64M") as pool:
            pool.save("model", {"w": w, "b": b})        # both or none, also if killed
            model = pool.load("model")                  # {"w": ..., "b": ...}, checked
            mesh = pool.load("mesh", version=3, node=0)

    path: of the file. size: where there is none, it is made with so many bytes ("64M"); without
    it, it must exist. permissions: of a new file.

    A Pool holds no lock and no open file; any number of threads and processes may use it at once.
    Raises NotFoundError; CorruptError; ImportError where the libraries of PMDK are missing.
    """

    def __init__(self, path, size=None, *, permissions=0o600):
        self._path = os.path.abspath(os.fspath(path))
        if size is None or os.path.exists(self._path):
            _core.pool_open(self._path)
        else:
            from strata import _segments

            try:
                _core.pool_create(self._path, _segments.bytes_of(size, "size"), permissions)
            except FileExistsError:  # another process was quicker
                _core.pool_open(self._path)

    @property
    def path(self):
        """The absolute path of the file."""
        return self._path

    def __repr__(self):
        return "strata.Pool(%r)" % self._path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __reduce__(self):
        return Pool, (self._path,)

    def save(self, name, arrays, *, keep=2):
        """Saves an array, or a dict of arrays, as a new version of `name`; returns its number.

        arrays: host arrays, or a dict from keys (letters, digits, "_", "-") to them. Each is a
            segment of the pool of its own ("pmem:PATH#NAME", "pmem:PATH#NAME.KEY").
        keep: older versions to keep.

        All of it is durable when it returns, or, also where the process is killed, nothing has
        changed. What has not changed since an older version is not written again.
        Raises ExhaustedError where the pool is full; ValueError; TimedOutError while another
        process changes the pool for more than 10 s.
        """
        with self.transaction() as transaction:
            transaction.save(name, arrays, keep=keep)
        return transaction.version

    def transaction(self):
        """Several saves that are all there or none, under one version number.

        with pool.transaction() as tx:
            tx.save("mesh", mesh)
            tx.save("step", step)
        tx.version
        """
        return Transaction(self._path)

    def load(self, name, version=None, *, node=None, placement=None):
        """The array, or the dict of arrays, that was saved as `name`, each compared with its checksums.

        version: a number; None is the newest. node, placement: as of create().

        The arrays lie in new shared memory, which goes with its last user: workers that they are
        sent to attach to it. For a view of the pool's own bytes: attach("pmem:PATH#NAME", "r").
        Raises NotFoundError; CorruptError with the first bad block.
        """
        from strata import _segments

        where = _segments.placement_of(placement, node)
        members = self._members(name)
        if version is None:
            version = max((number for _, number in members), default=0)
        found = {key: self._member(name, key) for key, number in members if number == version}
        if not found:
            self._raise_not_found(name, version, members)
        loaded = {
            key: self._load_one(member, version, where) for key, member in sorted(found.items())
        }
        return loaded[""] if "" in loaded else loaded

    def versions(self, name):
        """The numbers of the versions of `name` that are kept, from new to old."""
        return sorted({number for _, number in self._members(name)}, reverse=True)

    def names(self):
        """What was saved, sorted: of a dict of arrays each as "NAME.KEY"."""
        return sorted({found["name"] for found in _core.pool_versions(self._path, "")})

    def rollback(self, name, version):
        """Makes an older version of one array (a name of names()) the current one again."""
        _core.pool_rollback(self._path, name, version)

    def remove(self, name):
        """Removes one array (a name of names()) with all its versions."""
        _core.pool_remove(self._path, name)

    def verify(self, name, version=None):
        """Compares every block of `name` with its checksum. Raises CorruptError."""
        members = self._members(name)
        if version is None:
            version = max((number for _, number in members), default=0)
        checked = [key for key, number in members if number == version]
        if not checked:
            self._raise_not_found(name, version, members)
        for key in checked:
            bad = _core.pool_verify(self._path, self._member(name, key), version)
            if bad:
                from strata import _errors

                raise _errors.CorruptError(
                    "%s#%s version %d: %d blocks differ from their checksums"
                    % (self._path, self._member(name, key), version, bad)
                )

    @staticmethod
    def _member(name, key):
        return name if key == "" else "%s.%s" % (name, key)

    def _members(self, name):
        """(key, version) of what was saved as `name`; the key of a single array is ""."""
        members = []
        for found in _core.pool_versions(self._path, ""):
            if found["name"] == name:
                members.append(("", found["version"]))
            elif found["name"].startswith(name + ".") and _KEY.match(found["name"][len(name) + 1 :]):
                members.append((found["name"][len(name) + 1 :], found["version"]))
        return members

    def _load_one(self, member, version, where):
        segment = _core.pool_load(self._path, member, version, where)
        from strata import _array

        return _array.view_of(segment)

    def _raise_not_found(self, name, version, members):
        from strata import _errors

        known = sorted({number for _, number in members})
        there = "it has %s" % ", ".join(map(str, known)) if known else "nothing has that name"
        raise _errors.NotFoundError(
            "%s#%s: no version %d: %s" % (self._path, name, version, there)
        )


class Transaction:
    """Saves that are published together when the `with` block ends, or not at all where it raises.

    version: the number that all of them have, once it has ended.
    """

    def __init__(self, path):
        self._path = path
        self._staged = None
        self.version = None

    def __enter__(self):
        self._staged = _core.pool_begin(self._path)
        return self

    def __exit__(self, kind, *_):
        staged, self._staged = self._staged, None
        if kind is None:
            self.version = staged.commit()
        else:
            staged.abort()

    def save(self, name, arrays, *, keep=2):
        """As Pool.save(), but that the number is known when the block has ended."""
        if self._staged is None:
            raise RuntimeError("save() belongs into: with pool.transaction() as tx: tx.save(...)")
        if not isinstance(arrays, dict):
            self._stage(name, arrays, keep)
            return
        if not arrays:
            raise ValueError("%s: a dict without arrays" % name)
        for key in arrays:
            if not isinstance(key, str) or not _KEY.match(key):
                raise ValueError(
                    '%s: key %r: it has 1 to 80 letters, digits, "_" and "-"' % (name, key)
                )
        for key, array in arrays.items():
            self._stage("%s.%s" % (name, key), array, keep)

    def _stage(self, name, array, keep):
        from strata import _segments

        view, typestr = _segments.described(array)
        if view.nbytes == 0:
            raise ValueError("%s: an array without elements cannot be saved" % name)
        self._staged.stage(name, view, typestr, list(view.shape), keep)

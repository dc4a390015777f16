#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Elements between two pages that cannot be touched: whoever reads or writes beside them ends the process.
final class GuardedMemory<Element: BitwiseCopyable> {
  /// Which page they lie against: a kernel may go too far at either end.
  enum Side: CaseIterable {
    case start, end
  }

  let base: UnsafeMutablePointer<Element>
  let count: Int
  private let pages: UnsafeMutableRawPointer
  private let length: Int

  init(_ elements: [Element], _ side: Side = .end) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let bytes = elements.count * MemoryLayout<Element>.stride
    let inner = max(1, (bytes + page - 1) / page) * page
    length = inner + 2 * page
    guard let all = mmap(nil, length, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0), all != MAP_FAILED,
      mprotect(all + page, inner, PROT_READ | PROT_WRITE) == 0
    else { preconditionFailure("no memory") }
    pages = all
    count = elements.count
    base = (all + page + (side == .start ? 0 : inner - bytes)).assumingMemoryBound(to: Element.self)
    base.update(from: elements, count: count)
  }

  deinit { munmap(pages, length) }

  var array: [Element] { Array(UnsafeBufferPointer(start: base, count: count)) }

  subscript(index: Int) -> Element {
    get { base[index] }
    set { base[index] = newValue }
  }
}

import LMoECore

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// The two output streams.
enum Terminal {
  /// Whether stdout is a terminal that takes colour.
  static let hasColor = wantsColor && isatty(1) == 1

  private static let wantsColor = unsafe getenv("NO_COLOR") == nil

  /// Whether stderr is a terminal.
  static let showsProgress = isatty(2) == 1

  /// Whether somebody looks at stdout, so that what is too wide is better cut than wrapped.
  static let isLookedAt = isatty(1) == 1 || (unsafe getenv("COLUMNS") != nil)

  /// Columns of the terminal; 80 where stdout is none, and never fewer than 40.
  static let width: Int = {
    if let text = unsafe getenv("COLUMNS"), let columns = unsafe Int(String(cString: text)) {
      return max(columns, 40)
    }
    var size = winsize()
    guard unsafe ioctl(1, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return max(Int(size.ws_col), 40)
  }()

  /// Writes a line to stdout.
  static func print(_ text: String = "") { write(text + "\n", to: 1) }

  /// Writes a line to stderr.
  static func complain(_ text: String) { write(text + "\n", to: 2) }

  /// Writes to stderr without a newline.
  static func overwrite(_ text: String) { write("\r\u{1B}[K" + text, to: 2) }

  /// Whether stdout is a terminal.
  static let isOutputTerminal = isatty(1) == 1

  /// Writes bytes to stdout as they are.
  static func emit(_ bytes: [UInt8]) { write(bytes, to: 1) }

  private static func write(_ text: String, to descriptor: Int32) { write(Array(text.utf8), to: descriptor) }

  private static func write(_ bytes: [UInt8], to descriptor: Int32) {
    unsafe bytes.withUnsafeBufferPointer { bytes in
      var done = 0
      while done < bytes.count {
        let put = unsafe Self.write(
          descriptor, bytes.baseAddress.map { unsafe $0 + done }, bytes.count - done)
        if put <= 0 {
          // A report that could not be written must not look like a success.
          if descriptor == 1 { exit(74) }
          return
        }
        done += put
      }
    }
  }

  @unsafe private static func write(_ descriptor: Int32, _ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int
  {
    #if canImport(Glibc)
      unsafe Glibc.write(descriptor, bytes, count)
    #else
      unsafe Darwin.write(descriptor, bytes, count)
    #endif
  }

  /// `text` in bold on a terminal.
  static func bold(_ text: String) -> String { hasColor ? "\u{1B}[1m\(text)\u{1B}[0m" : text }

  /// `text` dimmed on a terminal.
  static func dim(_ text: String) -> String { hasColor ? "\u{1B}[2m\(text)\u{1B}[0m" : text }
}

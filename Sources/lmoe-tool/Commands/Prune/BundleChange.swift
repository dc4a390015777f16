import LMoEExperts
import LMoEFormat

/// A change of a bundle: appended to it, or made in a copy.
struct BundleChange {
  /// The bundle as it was.
  let bundle: Bundle
  /// Where the change is made.
  let writer: BundleWriter

  /// Begins a change.
  ///
  /// - Parameter output: The copy to make; nil to change the bundle itself.
  init(_ path: String, output: String?, _ options: BundleWriter.Options) throws {
    guard let output else {
      writer = try BundleWriter(appendingTo: path, options: options)
      guard let base = writer.base else { throw FormatError(.writerClosed, path: path) }
      bundle = base
      return
    }
    bundle = try Bundle(path: path)
    writer = try BundleWriter(creating: output, options: options)
    do { try BundleSubset().write(bundle, to: writer) } catch {
      writer.abort()
      throw error
    }
  }
}

private import CZstd
import LMoECore

/// zstd compression and decompression contexts of one thread.
@safe final class ZstdContexts {
  private let compressor: OpaquePointer
  private let decompressor: OpaquePointer
  private var strategy: Strategy?

  /// What a frame is for.
  enum Strategy {
    /// Entropy coding only: weights have no matches, and looking for them costs ratio and time.
    case huffmanOnly
    /// Ordinary compression at a level of at most 12 (higher levels of 1.5.4 have a rare corruption).
    case level(Int32)
  }

  init?() {
    guard let compressor = unsafe ZSTD_createCCtx(), let decompressor = unsafe ZSTD_createDCtx() else {
      return nil
    }
    unsafe self.compressor = compressor
    unsafe self.decompressor = decompressor
  }

  deinit {
    unsafe ZSTD_freeCCtx(compressor)
    unsafe ZSTD_freeDCtx(decompressor)
  }

  private func select(_ next: Strategy) {
    switch (strategy, next) {
    case (.huffmanOnly, .huffmanOnly): return
    case (.level(let a), .level(let b)) where a == b: return
    default: break
    }
    unsafe ZSTD_CCtx_reset(compressor, ZSTD_reset_session_and_parameters)
    switch next {
    case .huffmanOnly:
      unsafe ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, -131_072)
      unsafe ZSTD_CCtx_setParameter(compressor, ZSTD_c_minMatch, 7)
      // Experimental in zstd; where a build lacks it, level 1 stands in.
      if unsafe ZSTD_isError(lmoe_zstd_force_huffman_literals(compressor)) != 0 {
        unsafe ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, 1)
      }
    case .level(let level):
      unsafe ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, level)
    }
    strategy = next
  }

  /// Compresses `source` into `target`; the number of bytes, or nil if they do not fit.
  @unsafe func compress(
    _ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer, _ strategy: Strategy
  ) -> Int? {
    select(strategy)
    let written = unsafe ZSTD_compress2(
      compressor, target.baseAddress, target.count, source.baseAddress, source.count)
    return ZSTD_isError(written) != 0 ? nil : written
  }

  /// Decodes `frame`, which must be exactly one ordinary frame of exactly `target.count` bytes of content.
  ///
  /// - Returns: nil, or what is wrong.
  @unsafe func decompress(
    _ frame: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
  ) -> String? {
    let facts = unsafe lmoe_zstd_frame_header(frame.baseAddress, frame.count)
    guard facts.valid == 1 else { return "not a zstd frame" }
    guard facts.has_content_size == 1 else { return "zstd frame without content size" }
    guard facts.content_size == UInt64(target.count) else { return "zstd frame of another content size" }
    guard facts.window_size <= Limits.zstdWindow else { return "zstd frame with too large a window" }
    guard facts.dictionary_id == 0 else { return "zstd frame with a dictionary" }
    let length = unsafe ZSTD_findFrameCompressedSize(frame.baseAddress, frame.count)
    guard ZSTD_isError(length) == 0, length == frame.count else { return "zstd frame of another length" }
    let written = unsafe ZSTD_decompressDCtx(
      decompressor, target.baseAddress, target.count, frame.baseAddress, frame.count)
    guard ZSTD_isError(written) == 0, written == target.count else { return "zstd data does not decode" }
    return nil
  }
}

/// The content of one zstd frame; nil if it does not decode or exceeds `limit` bytes.
package func decompressedZstd(_ frame: [UInt8], limit: Int) -> [UInt8]? {
  guard let contexts = ZstdContexts() else { return nil }
  return unsafe frame.withUnsafeBytes { bytes in
    let facts = unsafe lmoe_zstd_frame_header(bytes.baseAddress, bytes.count)
    guard facts.has_content_size == 1, let count = Int(exactly: facts.content_size), count <= limit else {
      return nil
    }
    let buffer = RawBuffer(count: count)
    guard unsafe contexts.decompress(bytes, into: buffer.prefix(count)) == nil else { return nil }
    return unsafe Array(buffer.prefix(count))
  }
}

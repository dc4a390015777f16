private import CLMoEKernels

/// The temporary files and directories that exist now, so that an interrupted process can remove them on its way out.
public enum TemporaryFiles {
  /// A temporary file or directory was made.
  public static func began(_ path: String) { unsafe lmoe_temporary_began(path) }

  /// It was renamed or removed.
  public static func ended(_ path: String) { unsafe lmoe_temporary_ended(path) }

  /// From now on SIGINT, SIGTERM and SIGHUP remove them and end the process, with 128 + the signal's number, and
  /// a file beyond the limit on its size is an error and no signal.
  public static func removeOnSignals() { lmoe_remove_temporaries_on_signals() }
}
